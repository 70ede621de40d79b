// theme.js - light or dark, before the first paint: "auto" follows the system.
"use strict";
(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const read = () => {
        try { return localStorage.getItem("ds4.theme") || "auto"; } catch { return "auto"; }
    };
    let wanted = read();

    const show = () => {
        const is = wanted === "auto" ? (dark.matches ? "dark" : "light") : wanted;
        document.documentElement.dataset.theme = is;
        document.dispatchEvent(new CustomEvent("ds4-theme", { detail: is }));
    };
    dark.addEventListener("change", show);
    addEventListener("storage", (event) => {
        if (event.key !== "ds4.theme") return;
        wanted = read();
        show();
    });
    window.ds4Theme = {
        get: () => wanted,
        set(name) {
            wanted = ["light", "dark"].includes(name) ? name : "auto";
            try { localStorage.setItem("ds4.theme", wanted); } catch { /* for this page only */ }
            show();
        },
        toggle() {
            this.set(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
        },
    };
    show();
})();
