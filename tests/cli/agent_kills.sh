#!/bin/sh
# agent_kills.sh - ds4-agent is killed again and again at random moments and goes on each time: nothing that it
# said it had done is lost, and the task comes to its end. DS4_KILLS says how often [6]; make kills: 200 times.
. tests/cli/tap.inc
. tests/cli/agent.inc

kills=${DS4_KILLS:-6}
seed=${DS4_SEED:-$(date +%s)}
echo "# seed $seed (DS4_SEED)"
steps=$((kills * 3)) context=$((32768 + kills * 1024))

random() {                              # from 0 to N - 1, in number
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    number=$((seed / 65536 % $1))
}

# The model does one step after the other; what a step does is counted on the disk.
cat >"$project/step" <<'S'
n=$(($(ls | grep -c '^done') + 1))
: >"done.$n"
echo "did step $n."
S
say -i "did step $steps." "That was the last.</think>All steps are done."
say "Some steps are left, the next one is to be done now.</think>The next one.$(call bash command 'sh step')"

begin() {
    "$agent" -m "$mini" --sessions "$sessions" -C "$project" --script "$box/script" --no-notes -t 1 -c $context \
        --json --max-answers 100000 "$@" >"$box/events" 2>"$box/stderr" </dev/null &
    pid=$!
}

# A moment at random: while the process opens its session, or up to 150 ms after one of its first calls, however
# fast this machine is.
await_moment() {
    random 4
    if [ $number -eq 0 ]; then
        random 500
    else
        n_calls=$number tries=0
        while [ "$(grep '"event": "call_run"' "$box/events" | grep -vc replayed)" -lt $n_calls ] && [ $tries -lt 1000 ] &&
              kill -0 $pid 2>/dev/null; do
            sleep 0.02
            tries=$((tries + 1))
        done
        n_working=$((n_working + 1))
        random 150
    fi
    sleep "0.$(printf %03d $number)"
}

n=0 lost=0 n_working=0
begin -p "do all steps"
while [ $n -lt "$kills" ]; do
    await_moment
    kill -9 $pid 2>/dev/null || { wait $pid 2>/dev/null; break; }
    wait $pid 2>/dev/null
    n=$((n + 1))
    cat "$box/events" >>"$box/all"
    file=$(ls "$sessions"/*/journal 2>/dev/null | head -n 1)
    if [ -z "$file" ] || ! grep -q "do all steps" "$file"; then
        rm -rf "$sessions"              # it had not begun
        begin -p "do all steps"
        continue
    fi
    cp "$file" "$box/then"
    begin --continue
    # What was written before the kill is there behind it, but for half a record at the end.
    sleep 0.05
    if [ -e "$box/before" ]; then
        size=$(($(wc -c <"$box/before") - 512))
        [ $size -le 0 ] || cmp -s -n "$size" "$box/before" "$file" || lost=$((lost + 1))
    fi
    mv "$box/then" "$box/before"
done
wait $pid 2>/dev/null
cat "$box/events" >>"$box/all"
n_open=$(ls "$sessions"/*/journal | wc -l)
i=0
while ! grep -q '"stop": "done"' "$box/all" && [ $i -lt 20 ]; do
    begin --continue
    wait $pid
    cat "$box/events" >>"$box/all"
    i=$((i + 1))
done

echo "# $n kills, $n_working of them between calls, $steps steps, $(wc -c <"$(ls "$sessions"/*/journal | head -n 1)") bytes of journal"
is "it was killed as often as it was to be" "$kills" "$n"
is "there is one session" 1 "$n_open"
has "the task came to its end" "$box/all" '"stop": "done"'
is "nothing that was written is lost" 0 "$lost"
is "every step was done" "$steps" "$(ls "$project" | grep -c '^done')"
# Each result that a killed process told of is in the session, in its place.
sed -n 's/.*"event": "call_end".*"result": "did step \([0-9]*\)\..*/\1/p' "$box/all" | sort -u >"$box/told"
printf '/history 9\n' | timeout 100 "$agent" -m "$mini" --sessions "$sessions" -C "$project" --script "$box/script" \
    --no-notes -t 1 -c $context --json --continue >"$box/past" 2>/dev/null
sed -n 's/.*"event": "call_end".*"result": "did step \([0-9]*\)\..*/\1/p' "$box/past" | sort -u >"$box/kept"
is "every result that was told is in the session" "" "$(comm -23 "$box/told" "$box/kept" | tr '\n' ' ')"
is "the message is there" 1 "$(grep -c '"event": "user".*do all steps' "$box/past" | head -n 1 | sed 's/[2-9]/1/')"
grep -q '"error"' "$box/all" && grep '"error"' "$box/all" | head -n 3 | sed 's/^/# /'
is "no error was told" 0 "$(grep -c '"event": "error"' "$box/all")"
finish
