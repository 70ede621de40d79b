// histograms.js - the histograms of /metrics, and what they say of a time: half of the requests
// took less than this, 95 in a hundred less than that.

const LINE = /^(\w+)_bucket\{(?:[^}]*,)?le="([^"]+)"\} (\d+)/;

// { name: { bounds: [seconds], counts: [up to each bound] } } of a text in Prometheus' form.
export function readHistograms(text) {
    const found = {};

    for (const line of text.split("\n")) {
        const match = line.match(LINE);
        if (!match) continue;
        const histogram = found[match[1]] ??= { bounds: [], counts: [] };
        histogram.bounds.push(match[2] === "+Inf" ? Infinity : Number(match[2]));
        histogram.counts.push(Number(match[3]));
    }
    return found;
}

// What was counted since an earlier reading; everything, when the server began anew.
export function since(now, before) {
    const counts = now.counts.map((n, i) => n - (before?.counts[i] ?? 0));
    return counts.every((n) => n >= 0) ? { bounds: now.bounds, counts } : now;
}

export const total = ({ counts }) => counts.at(-1) ?? 0;

// The time below which a share of what was counted lies, with an even spread inside a bucket;
// null when nothing was counted. Beyond the last bound it is that bound.
export function quantile({ bounds, counts }, share) {
    const wanted = share * (counts.at(-1) ?? 0), i = counts.findIndex((n) => n >= wanted);

    if (!wanted) return null;
    const low = i ? bounds[i - 1] : 0, below = i ? counts[i - 1] : 0;
    if (bounds[i] === Infinity) return low;
    return low + (bounds[i] - low) * (wanted - below) / (counts[i] - below || 1);
}
