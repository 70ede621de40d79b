// all.mjs - every test of the web pages in one program, numbered in one row.

import { finish } from "./browser.mjs";

process.env.DS4_WEB_ALL = "1";
for (const name of ["markdown", "chat", "keep", "words", "access", "fuzz", "dashboard", "live"]) await import(`./${name}.mjs`);
finish();
process.exit();
