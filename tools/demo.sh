#!/bin/sh
# demo.sh - one answer of the bundled model, streamed, and what to do next.
set -u
cd "$(dirname "$0")/.." || exit 1

model=models/ds4-mini.gguf
prompt=${1:-"Hello! Who are you?"}

if [ ! -x ./ds4 ]; then
    echo "demo: ./ds4 is not built; run: make demo" >&2
    exit 1
fi
if [ ! -r "$model" ]; then
    echo "demo: the bundled model $model is missing from this copy" >&2
    exit 1
fi

# Bold for the command on a terminal, plain text elsewhere.
bold= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$(printf '\033[1m') plain=$(printf '\033[0m')
fi

printf '%s$ ./ds4 -m %s --stats -p "%s"%s\n\n' "$bold" "$model" "$prompt" "$plain"
./ds4 -m "$model" --stats -p "$prompt"
rc=$?
if [ $rc -ne 0 ]; then
    echo "demo: ds4 ended with exit code $rc" >&2
    exit $rc
fi

cat <<END

Now talk to it yourself:

  ./ds4                        a conversation with this model; /help lists the commands
  ./ds4 -m FILE.gguf           the same with another model file
  ./ds4 --help                 all options
END
