/* json_lines.c - is each line of a file an object in JSON, and are there enough of them?
 *
 *     json_lines LEAST FILE
 *
 * Exits with 0, or says which line is none and exits with 1. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    static char line[1 << 20];
    long        n = 0;
    FILE       *file = argc == 3 ? fopen(argv[2], "r") : NULL;

    if (!file) {
        fprintf(stderr, "usage: json_lines LEAST FILE\n");
        return 2;
    }
    while (fgets(line, sizeof line, file)) {
        json_error_t why;
        json_t      *object = json_loads(line, 0, &why);
        n++;
        if (!json_is_object(object)) {
            fprintf(stderr, "line %ld is no object: %s\n", n, object ? "another value" : why.text);
            return 1;
        }
        json_decref(object);
    }
    fclose(file);
    if (n >= atol(argv[1])) return 0;
    fprintf(stderr, "%ld lines, at least %s were expected\n", n, argv[1]);
    return 1;
}
