// all.mjs - every test of the web pages in one program, numbered in one row.

import { finish } from "./browser.mjs";

process.env.DS4_WEB_ALL = "1";
for (const file of ["./markdown.mjs", "./chat.mjs", "./keep.mjs", "./dashboard.mjs", "./live.mjs"]) await import(file);
finish();
process.exit();
