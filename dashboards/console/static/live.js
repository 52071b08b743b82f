// Live pages: the server sends the content again when the ledger has changed it; what differs is changed in place.
"use strict";

(() => {
  const address = document.currentScript.dataset.address;
  const main = document.getElementById("content");

  function isSame(now, next) {
    return now.nodeType === next.nodeType && now.nodeName === next.nodeName && now.id === next.id && !now.dataset?.key;
  }

  // Space between elements does not count as content.
  function isBlank(node) {
    return node?.nodeType === Node.TEXT_NODE && !node.data.trim();
  }

  function attributes(now, next) {
    for (const { name } of [...now.attributes]) {
      // Whether something is unfolded is the reader's.
      if (name !== "open" && !next.hasAttribute(name)) now.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      if (name !== "open" && now.getAttribute(name) !== value) now.setAttribute(name, value);
    }
  }

  function patch(now, next) {
    if (now.isEqualNode(next) || now.dataset?.drawn !== undefined) return;
    if (now.nodeType !== Node.ELEMENT_NODE) {
      now.data = next.data;
      now.parentElement.classList.add("moved");
      return;
    }
    attributes(now, next);
    children(now, next);
  }

  // Rows of a list go by their keys, everything else by its place; so focus and selection stay where they are.
  function children(now, next) {
    const keyed = new Map([...now.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
    let at = now.firstChild;
    for (const one of [...next.childNodes].filter((child) => !isBlank(child))) {
      while (isBlank(at)) at = at.nextSibling;
      const key = one.dataset?.key;
      const own = key ? keyed.get(key) : at && isSame(at, one) ? at : null;
      if (own && own === at) at = at.nextSibling;
      else now.insertBefore(own || one, at);
      if (own) patch(own, one);
    }
    while (at) {
      const over = at;
      at = at.nextSibling;
      over.remove();
    }
  }

  document.addEventListener("animationend", (event) => event.target.classList.remove("moved"));

  let source = null;

  function close() {
    if (source) source.close();
    source = null;
  }

  function open() {
    if (source || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("content", (event) => {
      const sent = document.createElement("template");
      sent.innerHTML = event.data;
      children(main, sent.content);
      document.dispatchEvent(new Event("live"));
    });
  }

  // Nobody looks at a hidden page: its connection is another's.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
