// dom.js - elements, icons, small things that both pages need. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

// el("div.card", { title: "x", onclick: f }, "text", node, [nodes]): attributes by name,
// "on..." as listeners, true for an attribute without value, false or null for none.
export function el(spec, attributes, ...children) {
    const [tag, ...classes] = spec.split(".");
    const node = document.createElement(tag || "div");

    if (classes.length) node.className = classes.join(" ");
    for (const [name, value] of Object.entries(attributes || {})) {
        if (value === false || value === null || value === undefined) continue;
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else if (name === "value") node.value = value;
        else node.setAttribute(name, value === true ? "" : value);
    }
    append(node, children);
    return node;
}

function append(node, children) {
    for (const child of children) {
        if (Array.isArray(child)) append(node, child);
        else if (child !== null && child !== undefined && child !== false) node.append(child);
    }
}

// Outlines on a grid of 24.
const ICONS = {
    plus: "M12 5v14M5 12h14",
    send: "M12 19V5M6 11l6-6 6 6",
    stop: "M7 7h10v10H7z",
    copy: "M9 9h10v11H9zM5 15V4h10",
    check: "M5 13l4 4L19 7",
    edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
    retry: "M4 12a8 8 0 0 1 14-5l2 2M20 4v5h-5M20 12a8 8 0 0 1-14 5l-2-2M4 20v-5h5",
    trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
    menu: "M4 7h16M4 12h16M4 17h16",
    close: "M6 6l12 12M18 6L6 18",
    settings: "M4 7h9M17 7h3M4 17h3M11 17h9M13 7a2 2 0 1 0 4 0a2 2 0 1 0-4 0M7 17a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
    sun: "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4M6.4 17.6L5 19",
    moon: "M20 14a8 8 0 1 1-10-10a7 7 0 0 0 10 10z",
    chart: "M4 4v16h16M8 15l3-4 3 2 5-7",
    chat: "M4 5h16v11H10l-4 4v-4H4z",
    down: "M12 5v14M6 13l6 6 6-6",
    chevron: "M9 6l6 6-6 6",
    tool: "M14 7a4 4 0 0 1 5-4l-2.5 2.5L18 7l2.5-1a4 4 0 0 1-5.5 4L7 18.5a1.8 1.8 0 0 1-2.5-2.5L13 8z",
    brain: "M12 3l1.8 5.2L19 10l-5.2 1.8L12 17l-1.8-5.2L5 10l5.2-1.8zM19 16v4M17 18h4",
    export: "M12 4v11M7 10l5 5 5-5M5 20h14",
    left: "M15 6l-6 6 6 6",
    play: "M8 5l11 7-11 7z",
    file: "M6 3h8l4 4v14H6zM14 3v4h4",
    clip: "M19 11l-7.5 7.5a4.2 4.2 0 0 1-6-6L13 5a2.8 2.8 0 0 1 4 4l-7.4 7.4a1.4 1.4 0 0 1-2-2L14 8",
    sliders: "M4 6h16M4 12h10M4 18h7M17 15v6M14 18h6",
    keys: "M3 7h18v11H3zM7 11h.01M11 11h.01M15 11h.01M8 14.5h8",
    key: "M4 16a4 4 0 1 0 8 0a4 4 0 1 0-8 0M11 13L20 4M16 8l3 3M18.5 5.5l2 2",
};

export function icon(name) {
    const svg = document.createElementNS(SVG, "svg");
    const path = document.createElementNS(SVG, "path");

    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
}

export function iconButton(name, label, onclick, spec = "button.icon-button") {
    return el(spec, { type: "button", title: label, "aria-label": label, onclick }, icon(name));
}

// Fills <span data-icon="name"> of the page's own HTML.
export function fillIcons(root = document) {
    for (const place of root.querySelectorAll("[data-icon]")) {
        const node = icon(place.dataset.icon);
        if (place.dataset.class) node.classList.add(place.dataset.class);
        place.replaceWith(node);
    }
}

// The clipboard is there on secure origins only, which a plain address in a home network is not.
export async function copyText(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        const area = el("textarea.out-of-sight", { value: text, "aria-hidden": "true" });
        document.body.append(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        return done;
    }
}

export function copyButton(label, text, spec) {
    const button = iconButton("copy", label, async () => {
        const done = await copyText(text());
        button.replaceChildren(icon(done ? "check" : "close"));
        say(done ? "Copied" : "Copying is not allowed here");
        setTimeout(() => button.replaceChildren(icon("copy")), 1400);
    }, spec);
    return button;
}

// For people who cannot see the page change.
export function say(text) {
    const live = document.getElementById("live");
    if (live) live.textContent = text;
}

const grouped = new Intl.NumberFormat("en");
export const count = (n) => grouped.format(Math.round(n));

export function bytes(n) {
    const units = ["B", "KB", "MB", "GB", "TB"];
    let   i = 0;
    while (n >= 1000 && i < units.length - 1) {
        n /= 1000;
        i++;
    }
    return `${i && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

export function seconds(ms) {
    const s = ms / 1000;
    if (s < 0.1) return `${Math.max(1, Math.round(ms))} ms`;
    if (s < 10) return `${s.toFixed(1)} s`;
    if (s < 60) return `${Math.round(s)} s`;
    return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
}
