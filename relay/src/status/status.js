// Keeps the page current: fetches it anew and takes over the parts that live. What is marked stays as it is meanwhile.
"use strict";

const EVERY_MS = 2000;
const LIMIT_MS = 5000;
const lost = document.getElementById("lost");

function takeOver(page) {
  document.title = page.title;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (fresh) part.replaceChildren(...fresh.childNodes);
  }
}

async function refresh() {
  try {
    const answer = await fetch("/", { signal: AbortSignal.timeout(LIMIT_MS) });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (getSelection().isCollapsed) takeOver(page);
    lost.hidden = true;
  } catch {
    if (lost.hidden) lost.textContent = `The relay has not answered since ${new Date().toLocaleTimeString()}. What follows is from before.`;
    lost.hidden = false;
  }
}

async function run() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY_MS));
    if (!document.hidden) await refresh();
  }
}

document.addEventListener("visibilitychange", () => document.hidden || refresh());
run();
