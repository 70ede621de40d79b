/* synth.h - ds4-quantize synth: a model file with exactly the tensors of a published one and
 * random weights, for measuring speed without the real file. */
#ifndef DS4_APP_SYNTH_H
#define DS4_APP_SYNTH_H

/* The subcommand; argv[0] is its own name. Returns the exit code. */
int synth_main(int argc, char **argv);

#endif
