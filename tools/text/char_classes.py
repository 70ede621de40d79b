#!/usr/bin/env python3
"""Makes src/text/char_table.c from the Unicode Character Database.

usage: char_classes.py DerivedGeneralCategory.txt VERSION > src/text/char_table.c

The file has lines "0041..005A ; Lu # comment"; only the first letter of the category is
used. Needed once for each new version of Unicode; building ds4 does not need it."""
import re
import sys

OTHER, LETTER, MARK, NUMBER, PUNCT, SPACE = range(6)
CLASS_OF = {'L': LETTER, 'M': MARK, 'N': NUMBER, 'P': PUNCT, 'S': PUNCT}
WHITE_SPACE = [*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B),
               0x2028, 0x2029, 0x202F, 0x205F, 0x3000]


def main():
    classes = bytearray(0x110000)
    for line in open(sys.argv[1], encoding='utf-8'):
        m = re.match(r'([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*;\s*([A-Z])', line)
        if m and m[3] in CLASS_OF:
            first, last = int(m[1], 16), int(m[2] or m[1], 16)
            classes[first:last + 1] = bytes([CLASS_OF[m[3]]]) * (last + 1 - first)
    for code in WHITE_SPACE:
        classes[code] = SPACE
    starts = [c for c in range(0x110000) if c == 0 or classes[c] != classes[c - 1]]
    print('/* char_table.c - classes of all characters, from Unicode %s.\n *\n'
          ' * Made by tools/text/char_classes.py. An entry is the first character of a run and,\n'
          ' * in its lowest three bits, the ds4_char_class of the run. */' % sys.argv[2])
    print('#include "text/char_table.h"\n')
    print('const uint32_t ds4_char_runs[] = {')
    words = ['0x%x,' % (c << 3 | classes[c]) for c in starts]
    for i in range(0, len(words), 9):
        print('    ' + ' '.join(words[i:i + 9]))
    print('};\nconst uint32_t ds4_n_char_runs = sizeof ds4_char_runs / sizeof ds4_char_runs[0];')


main()
