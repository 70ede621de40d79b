// plot.js - lines over time on a canvas, in the colours of the page.
//
// All plots of a page share one time axis, and where the pointer is in one of them, all show
// their value.

const pointer = { at: null };           // seconds before now, or null
const plots = new Set();

// A round number not below `most` that divides into `parts` round steps.
function scale(most, parts, least) {
    const wanted = Math.max(most, least) / parts;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= wanted * 0.999) * power;
    return { top: step * parts, step };
}

function ago(s) {
    if (s < 1) return "now";
    return s < 100 ? `${Math.round(s)} s ago` : s < 3600 ? `${Math.round(s / 6) / 10} min ago` : "1 h ago";
}

export class Plot {
    // series: [{ colour: "--plot-1", of: (sample) => number or null, fill }]; colours as #rrggbb
    // limit: (sample) => a height drawn as a dashed line, or null
    // format: a number as the axis shows it; least: the smallest top of the axis
    constructor(canvas, { series, format, least = 1, limit = null, top = 0, step = false }) {
        Object.assign(this, { canvas, series, format, least, limit, top, step });
        this.samples = [];
        this.range = 120;
        canvas.addEventListener("pointermove", (event) => {
            const box = canvas.getBoundingClientRect();
            const share = (event.clientX - box.left - this.left) / (box.width - this.left);
            pointer.at = share >= 0 && share <= 1 ? (1 - share) * this.range : null;
            for (const plot of plots) plot.draw();
        });
        canvas.addEventListener("pointerleave", () => {
            pointer.at = null;
            for (const plot of plots) plot.draw();
        });
        new ResizeObserver(() => this.draw()).observe(canvas);
        document.addEventListener("ds4-theme", () => requestAnimationFrame(() => this.draw()));
        this.left = 56;
        plots.add(this);
    }

    // samples: by rising time, in seconds; shared with the other plots.
    show(samples, range, now) {
        this.samples = samples;
        this.range = range;
        this.now = now;
        this.draw();
    }

    visible() {
        const from = this.now - this.range - 5;
        let   i = this.samples.length;
        while (i > 0 && this.samples[i - 1].time >= from) i--;
        return this.samples.slice(i);
    }

    highest(samples) {
        let most = 0;
        for (const sample of samples) {
            for (const one of this.series) most = Math.max(most, one.of(sample) ?? 0);
        }
        return most;
    }

    draw() {
        const { canvas } = this, ratio = devicePixelRatio || 1;
        const width = canvas.clientWidth, height = canvas.clientHeight;
        const g = canvas.getContext("2d"), style = getComputedStyle(canvas);
        const colour = (name) => style.getPropertyValue(name).trim();

        if (!width || this.now === undefined) return;
        if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
        if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
        g.setTransform(ratio, 0, 0, ratio, 0, 0);
        g.clearRect(0, 0, width, height);
        g.font = `11.5px ${style.fontFamily}`;

        const samples = this.visible(), bottom = height - 20;
        const axis = this.top ? { top: this.top, step: this.top / 2 } : scale(this.highest(samples) * 1.05, 2, this.least);
        const x = (time) => this.left + (width - this.left) * (1 - (this.now - time) / this.range);
        const y = (value) => bottom - (bottom - 8) * Math.min(1, value / axis.top);

        this.grid(g, axis, y, width, height, bottom, colour);
        g.save();
        g.beginPath();
        g.rect(this.left, 0, width - this.left, height);
        g.clip();
        for (const one of this.series) this.line(g, samples, one, x, y, bottom, colour);
        g.restore();
        if (this.limit) this.drawLimit(g, samples, axis, y, width, colour);
        if (pointer.at !== null) this.cross(g, samples, x, y, width, bottom, colour);
    }

    grid(g, axis, y, width, height, bottom, colour) {
        g.strokeStyle = colour("--grid");
        g.fillStyle = colour("--ink-3");
        g.lineWidth = 1;
        g.textBaseline = "middle";
        g.textAlign = "right";
        for (let value = 0; value <= axis.top * 1.001; value += axis.step) {
            const at = Math.round(y(value)) + 0.5;
            g.beginPath();
            g.moveTo(this.left, at);
            g.lineTo(width, at);
            g.stroke();
            g.fillText(this.format(value), this.left - 8, at);
        }
        g.textBaseline = "alphabetic";
        for (const share of [0, 0.5, 1]) {
            g.textAlign = share === 1 ? "right" : share ? "center" : "left";
            g.fillText(ago(this.range * (1 - share)), this.left + (width - this.left) * share, height - 4);
        }
    }

    // A gap where a value is missing or the page heard nothing for a while.
    line(g, samples, one, x, y, bottom, colour) {
        const parts = [];
        let   part = null, before = 0;

        for (const sample of samples) {
            const value = one.of(sample);
            if (value === null || value === undefined || sample.time - before > 8) part = null;
            before = sample.time;
            if (value === null || value === undefined) continue;
            if (!part) parts.push(part = []);
            if (this.step && part.length) part.push([x(sample.time), part.at(-1)[1]]);
            part.push([x(sample.time), y(value)]);
        }
        g.strokeStyle = colour(one.colour);
        g.lineWidth = 1.8;
        g.lineJoin = "round";
        g.lineCap = "round";
        for (const points of parts) {
            g.beginPath();
            for (const [px, py] of points) g.lineTo(px, py);
            if (points.length === 1) g.lineTo(points[0][0] + 1, points[0][1]);
            g.stroke();
            if (!one.fill) continue;
            const wash = g.createLinearGradient(0, 0, 0, bottom);
            g.lineTo(points.at(-1)[0], bottom);
            g.lineTo(points[0][0], bottom);
            wash.addColorStop(0, `${colour(one.colour)}3c`);
            wash.addColorStop(1, `${colour(one.colour)}00`);
            g.fillStyle = wash;
            g.fill();
        }
    }

    drawLimit(g, samples, axis, y, width, colour) {
        const value = samples.length ? this.limit(samples.at(-1)) : null;
        if (!value || value > axis.top) return;
        g.setLineDash([4, 4]);
        g.strokeStyle = colour("--ink-3");
        g.beginPath();
        g.moveTo(this.left, y(value));
        g.lineTo(width, y(value));
        g.stroke();
        g.setLineDash([]);
    }

    cross(g, samples, x, y, width, bottom, colour) {
        const wanted = this.now - pointer.at;
        let   nearest = null;

        for (const sample of samples) {
            if (!nearest || Math.abs(sample.time - wanted) < Math.abs(nearest.time - wanted)) nearest = sample;
        }
        if (!nearest || Math.abs(nearest.time - wanted) > Math.max(3, this.range / 40)) return;
        const at = x(nearest.time);
        const values = this.series.map((one) => [one.of(nearest), colour(one.colour)])
            .filter(([value]) => value !== null && value !== undefined);
        g.strokeStyle = colour("--line-2");
        g.beginPath();
        g.moveTo(at, 4);
        g.lineTo(at, bottom);
        g.stroke();
        for (const [value, tint] of values) {
            g.fillStyle = tint;
            g.beginPath();
            g.arc(at, y(value), 3.5, 0, 7);
            g.fill();
        }
        this.label(g, at, width, values, colour);
    }

    label(g, at, width, values, colour) {
        const texts = values.map(([value]) => this.format(value));
        const wide = texts.reduce((sum, text) => sum + g.measureText(text).width + 12, 6);
        const left = at + 10 + wide > width ? at - 10 - wide : at + 10;
        let   x = left + 9;

        if (!texts.length) return;
        g.fillStyle = colour("--panel");
        g.strokeStyle = colour("--line-2");
        g.beginPath();
        g.roundRect(left, 6, wide, 22, 7);
        g.fill();
        g.stroke();
        g.textAlign = "left";
        g.textBaseline = "middle";
        texts.forEach((text, i) => {
            g.fillStyle = values[i][1];
            g.fillText(text, x, 17.5);
            x += g.measureText(text).width + 12;
        });
    }
}
