#!/bin/sh
# metrics.sh - promtool, of Prometheus itself, reads /metrics with our names and with vLLM's. That vLLM's
# names hold colons is all it may remark.
. tests/cli/tap.inc
. tests/cli/server.inc
if ! command -v promtool >/dev/null; then
    skip "promtool check metrics" "no promtool here"
    finish
fi

for names in "" --vllm-metrics; do
    # shellcheck disable=SC2086
    start_server --parallel 1 --kv-disk-dir "$box/kv" $names
    for path in /v1/chat/completions /v1/responses /v1/messages /nowhere; do
        post $path '{"model":"m","input":"hello","messages":[{"role":"user","content":"hello"}],"max_tokens":4}'
    done
    ask /metrics
    promtool check metrics <"$box/stdout" >"$box/remarks" 2>&1
    rc=$?
    if [ -z "$names" ]; then
        is "our names: nothing to remark" "0 " "$rc $(cat "$box/remarks")"
    else
        is "and vLLM's: nothing but that they hold colons" "" \
            "$(grep -v "^vllm:.* metric names should not contain ':'" "$box/remarks")"
        has "these names are there" "$box/stdout" "vllm:num_requests_running"
    fi
    stop_server
done
finish
