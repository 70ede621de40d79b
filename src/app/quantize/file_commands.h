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

/* Entries of an option table: the file of importance, and how much to search. to_encoder is an int * that
 * receives a ds4_encode_effort. */
#define QUANTIZE_WEIGHT_OPTIONS(to_imatrix, to_encoder)                                        \
    DS4_OPT_TEXT(0, "imatrix", "FILE", to_imatrix,                                             \
                 "importance of input channels, from ds4-eval imatrix or\n"                    \
                 "llama.cpp (GGUF or .dat)"),                                                  \
    DS4_OPT_NAME("encoder", "standard|best", to_encoder, quantize_encoder_names,               \
                 "standard: what other programs write; best: search\n"                         \
                 "longer for less error [best]")
extern const char *const quantize_encoder_names[];      /* as ds4_encode_effort counts */

#endif
