#!/bin/sh
# mac_answers.sh - the bundled model's greedy answers through the Metal host code are the CPU's to the byte.
set -u
out=${OUT:-build}
model=models/ds4-mini.gguf
n=0 rc=0
for prompt in "Hi" "What is 3 plus 4?" "Name a colour."; do
    n=$((n + 1))
    cpu=$("$out/ds4" -m "$model" --backend cpu -p "$prompt" --system "" --nothink --temp 0 -n 12 2>/dev/null)
    mac=$("$out/mac/ds4" -m "$model" --backend metal -p "$prompt" --system "" --nothink --temp 0 -n 12 2>/dev/null)
    if [ -n "$cpu" ] && [ "$cpu" = "$mac" ]; then
        echo "ok $n - $prompt"
    else
        echo "not ok $n - $prompt: '$mac', on the CPU '$cpu'"
        rc=1
    fi
done
exit $rc
