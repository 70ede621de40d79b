/* file_commands.h - commands of ds4-quantize that take a model file: each parses its own command
 * line and returns an exit code. */
#ifndef DS4_APP_FILE_COMMANDS_H
#define DS4_APP_FILE_COMMANDS_H

int requantize_main(int argc, char **argv);
int splice_main(int argc, char **argv);
int split_main(int argc, char **argv);
int merge_main(int argc, char **argv);
int inspect_main(int argc, char **argv);
int verify_main(int argc, char **argv);

#endif
