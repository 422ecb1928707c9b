// Everything works without this. It writes times in the reader's zone, moves to the first error, and keeps fresh what is
// shown: the line that waits for a connection, and the parts of the console's pages that the cluster changes.
(() => {
  "use strict";
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });
  const zone = new Intl.DateTimeFormat("en", { timeZoneName: "longOffset" });
  const offset = (date) => zone.formatToParts(date).find((part) => part.type === "timeZoneName")?.value ?? "";
  const localize = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const date = new Date(time.dateTime);
      if (Number.isNaN(date.getTime())) continue;
      time.title = `${full.format(date)} ${offset(date)}`;
      if (time.hasAttribute("data-clock")) time.textContent = clock.format(date);
    }
  };
  localize(document);

  document.querySelector("[data-focus]")?.focus();

  // Where the browser lets a page write to the clipboard; elsewhere a click into the field selects all of it.
  for (const button of document.querySelectorAll("[data-copy]")) {
    const field = document.getElementById(button.dataset.copy);
    field?.addEventListener("focus", () => field.select?.());
    if (!field || !navigator.clipboard) continue;
    const words = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(field.value ?? field.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = words; }, 3000);
    });
  }

  // A file goes into the field where its text can be seen and changed before it is sent.
  for (const file of document.querySelectorAll("input[data-into]")) {
    file.closest("[hidden]")?.removeAttribute("hidden");
    file.addEventListener("change", async () => {
      if (file.files.length) document.getElementById(file.dataset.into).value = await file.files[0].text();
    });
  }

  // Keys without Ctrl or Alt, for whoever wants them: "/" goes to the search, "?" tells about keys.
  const keys = document.getElementById("keys");
  if (keys?.showModal) {
    const wanted = keys.querySelector("input");
    wanted.checked = localStorage.getItem("keys") !== "off";
    wanted.addEventListener("change", () => localStorage.setItem("keys", wanted.checked ? "on" : "off"));
    keys.querySelector("button").addEventListener("click", () => keys.close());
    for (const opener of document.querySelectorAll("[data-keys]")) {
      opener.hidden = false;
      opener.addEventListener("click", () => keys.showModal());
    }
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target.closest?.("input, select, textarea, dialog, [contenteditable]");
      if (!wanted.checked || isTyping || event.ctrlKey || event.altKey || event.metaKey) return;
      const field = document.querySelector("main form[role=search] input:not([type=hidden])");
      if (event.key === "/" && field) {
        event.preventDefault();
        field.focus();
        field.select?.();
      } else if (event.key === "?") {
        event.preventDefault();
        keys.showModal();
      }
    });
  }

  // Ten minutes at most, only while somebody looks; each answer is a state and the moment of it, never markup.
  const live = document.querySelector("[data-live]");
  if (live) {
    const words = live.querySelector("[data-words]");
    const until = Date.now() + 10 * 60 * 1000;
    const ask = async () => {
      if (Date.now() > until) return live.classList.add("still");
      if (!document.hidden) {
        try {
          const answer = await fetch(live.dataset.live, { headers: { accept: "application/json" } });
          if (answer.status === 401 || answer.redirected) return live.classList.add("still");
          if (answer.ok) {
            const now = await answer.json();
            const at = now.at ? `, ${clock.format(new Date(now.at))}` : "";
            const text = `${now.text}${at}`;
            if (words.textContent !== text) words.textContent = text;
            live.dataset.state = now.state;
            if (now.state === "connected") return;
          }
        } catch { /* the network is being changed by the VPN itself: ask again */ }
      }
      setTimeout(ask, 2000 + Math.random() * 500);
    };
    ask();
  }

  // The console: a stream says that something changed, and the page asks for itself again and swaps the parts that may
  // differ. It is parsed as a document of its own, so nothing in it runs.
  const topics = document.body.dataset.topics?.split(" ");
  if (topics && "EventSource" in window) {
    const fresh = document.querySelector("[data-fresh]");
    const pause = fresh?.querySelector("[data-pause]");
    let stream = null, paused = false, busy = false, again = false;

    const over = () => {
      stream?.close();
      if (fresh) fresh.dataset.fresh = "";
      document.querySelector("[data-over]")?.removeAttribute("hidden");
    };
    // Whoever types in a part or has a menu of it open keeps it until later.
    const isBusy = (part) => part.contains(document.activeElement?.closest("input, select, textarea")) || part.querySelector("details[open]");
    const nameOf = (element) => element.getAttribute("aria-label") ?? element.textContent.trim();
    const kinOf = (held, root) => [...root.querySelectorAll(held.tagName)].find((element) =>
      element.id === held.id && element.getAttribute("href") === held.getAttribute("href") && nameOf(element) === nameOf(held));
    const put = (page) => {
      for (const part of document.querySelectorAll("[data-part]")) {
        const next = page.getElementById(part.id);
        if (!next || isBusy(part)) continue;
        localize(next);
        if (next.innerHTML === part.innerHTML) continue;
        const held = part.contains(document.activeElement) ? document.activeElement : null;
        const fresh = document.importNode(next, true);
        part.replaceWith(fresh);
        // Whoever is at something here stays at it, or else at the content: nobody is sent back to the top of the page.
        if (held) (kinOf(held, fresh) ?? document.getElementById("main")).focus({ preventScroll: true });
      }
    };
    const look = () => {
      busy = true;
      const ask = new XMLHttpRequest();
      ask.open("GET", document.body.dataset.look);
      ask.responseType = "document";
      ask.setRequestHeader("accept", "text/html");
      ask.setRequestHeader("x-postern-by-page", "1");
      ask.onload = () => {
        if (ask.status === 401) over();
        else if (ask.status === 200 && ask.responseXML) put(ask.responseXML);
      };
      ask.onloadend = () => setTimeout(() => {
        busy = false;
        if (again) hear();
      }, 250);
      ask.send();
    };
    // The first change is shown at once, more of them a few times a second.
    const hear = () => {
      if (paused || document.hidden) return;
      again = busy;
      if (!busy) look();
    };
    const listen = () => {
      if (stream || paused || document.hidden) return;
      stream = new EventSource(document.body.dataset.stream);
      stream.onmessage = (event) => {
        if (event.data === "hello") {
          if (fresh) fresh.dataset.fresh = "live";
          // What happened before we listened.
          hear();
        } else if (event.data === "resync" || topics.includes(event.data)) hear();
      };
      stream.addEventListener("over", over);
      stream.onerror = () => { if (fresh) fresh.dataset.fresh = ""; };
    };
    const rest = () => { stream?.close(); stream = null; };
    document.addEventListener("visibilitychange", () => document.hidden ? rest() : listen());
    addEventListener("pagehide", rest);
    addEventListener("pageshow", listen);
    if (pause) {
      pause.hidden = false;
      pause.addEventListener("click", () => {
        paused = !paused;
        pause.textContent = paused ? "Resume updates" : "Pause updates";
        if (paused) { rest(); fresh.dataset.fresh = ""; } else listen();
      });
    }
    listen();
  }
})();
