"use strict";
// The visitor's page. It holds no state worth keeping: whatever it shows was told by the gate less than six seconds ago,
// or it says that the gate is gone.
(() => {
  const body = document.body;
  const first = document.getElementById("first");
  const second = document.getElementById("second");
  const symbols = { "unknown-issuer": "refused", "not-genuine": "refused" };
  const graceMs = 2000; // a restart of the gate shorter than this is not shown
  const deafMs = 6000; // three missed signs of life
  let resting = "idle"; // what is shown between outcomes: idle, down or gone
  let outcomeTimer = 0, goneTimer = 0, source = null, failing = false;

  // fit takes the largest type with which the words fill but do not leave their box.
  function fit() {
    const box = document.getElementById("words");
    const side = Math.min(innerWidth, innerHeight);
    let low = 12, high = Math.round(side * 0.2);
    while (low < high) {
      const size = Math.ceil((low + high) / 2);
      first.style.fontSize = size + "px";
      second.style.fontSize = Math.max(14, Math.round(size * 0.5)) + "px";
      const used = first.offsetHeight + (second.textContent ? second.offsetHeight + size * 0.35 : 0);
      const wide = Math.max(first.scrollWidth, second.scrollWidth) > box.clientWidth;
      if (used > box.clientHeight || wide) high = size - 1; else low = size;
    }
    first.style.fontSize = low + "px";
    second.style.fontSize = Math.max(14, Math.round(low * 0.5)) + "px";
  }

  // put sets each sentence as a block of its own.
  function put(element, text) {
    element.replaceChildren(...text.split(/(?<=[.。])\s*(?=\S)/).filter(Boolean).map((sentence) => {
      const block = document.createElement("span");
      block.textContent = sentence;
      return block;
    }));
  }

  function paint(state, symbol, colour, words, secondWords) {
    body.dataset.state = state;
    body.dataset.symbol = symbol;
    body.dataset.colour = colour;
    put(first, words);
    put(second, secondWords || "");
    fit();
  }

  function rest() {
    clearTimeout(outcomeTimer);
    outcomeTimer = 0;
    delete body.dataset.outcome;
    body.classList.remove("arrived");
    if (resting === "idle") paint("idle", "idle", "none", body.dataset.idle, body.dataset.idleSecond);
    else paint(resting, "out-of-service", "none", body.dataset.down, body.dataset.downSecond);
  }

  function setResting(state) {
    if (state === resting) return;
    resting = state;
    if (!outcomeTimer || state === "gone") rest();
  }

  function show(o) {
    clearTimeout(outcomeTimer);
    body.dataset.outcome = o.outcome;
    paint("outcome", symbols[o.outcome] || o.outcome, o.colour, o.words, o.second);
    body.classList.remove("arrived");
    void body.offsetWidth; // restarts the animation
    body.classList.add("arrived");
    outcomeTimer = setTimeout(rest, o.hold);
  }

  function status(s) {
    if (s.build !== document.documentElement.dataset.build) { location.reload(); return; }
    body.dataset.network = s.reached ? "online" : "offline";
    document.getElementById("network").textContent = s.network;
    document.getElementById("backlog").textContent = s.backlog;
    document.getElementById("faults").textContent = s.faults ? "⚠ " + s.faults : "";
    setResting(s.inService ? "idle" : "down");
  }

  // expectLife has the page say that the gate is gone unless it hears from it in time.
  function expectLife(ms) {
    clearTimeout(goneTimer);
    goneTimer = setTimeout(() => { setResting("gone"); connect(); }, ms);
  }

  function alive() {
    failing = false;
    expectLife(deafMs);
  }

  // failed comes again with every attempt to reconnect: only the first may set the time.
  function failed() {
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, graceMs);
    if (failing) return;
    failing = true;
    expectLife(graceMs);
  }

  function connect() {
    if (source) source.close();
    source = new EventSource("/events" + location.search);
    source.addEventListener("status", (e) => { alive(); status(JSON.parse(e.data)); });
    source.addEventListener("outcome", (e) => { alive(); show(JSON.parse(e.data)); });
    source.onerror = failed;
  }

  addEventListener("resize", fit);
  addEventListener("contextmenu", (e) => e.preventDefault());
  document.fonts.ready.then(fit);
  rest();
  expectLife(deafMs);
  connect();
})();
