/* Keys for the review operators: FiftyOne's Python operators have none of their own. Plain script, no build step.
 *
 * Python says which keys there are (show_keys, below) when a dataset under review is opened; until then, and on every
 * other dataset, nothing is listened to. A key runs a Python operator on the selection or the opened sample.
 */
(function () {
  "use strict";
  const PLUGIN = "@face-curation/review";
  const BAR = "face-curation-keys";
  const operators = window.__foo__;
  let keys = new Map();
  let softening = null; // the classes chosen so far after the key for soften, or null

  const CLICKED = /^(button|checkbox|color|file|image|radio|range|reset|submit)$/; // inputs that nobody types in

  /** Someone is typing, or a dialog asks for something: keys belong to that. */
  function busy(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return true;
    if (document.querySelector("[role=dialog] input, [role=dialog] textarea, .MuiDialog-root, .MuiMenu-root")) return true;
    const path = event.composedPath ? event.composedPath() : [event.target];
    return path.some(
      (node) =>
        node instanceof HTMLElement &&
        (node.isContentEditable ||
          /^(TEXTAREA|SELECT)$/.test(node.tagName) ||
          (node.tagName === "INPUT" && !CLICKED.test(node.type)) ||
          /^(textbox|searchbox|combobox|spinbutton|menu|listbox)$/.test(node.getAttribute("role") || ""))
    );
  }

  function run(name, params) {
    operators.executeOperator(`${PLUGIN}/${name}`, params || {});
  }

  function soften(key) {
    const chosen = keys.get(key);
    if (!chosen || chosen.operator !== "relabel") {
      softening = null;
      say("");
      return;
    }
    softening.push(chosen.params.label);
    if (softening.length === 2) {
      run("soften", { first: softening[0], second: softening[1] });
      softening = null;
      say("");
    } else {
      say(`between ${softening[0]} and …`);
    }
  }

  function pressed(event) {
    if (!keys.size || busy(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (softening && key === "Escape") {
      softening = null;
      say("");
    } else if (softening && keys.has(key)) {
      soften(key);
    } else if (keys.has(key)) {
      const chosen = keys.get(key);
      if (chosen.operator === "soften") {
        softening = [];
        say("between … and …: press two digits");
      } else {
        run(chosen.operator, chosen.params);
      }
    } else {
      return;
    }
    // the App has keys of its own for some of these (x, z, c); while a review is open, ours come first
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  function bar() {
    let found = document.getElementById(BAR);
    if (!found) {
      found = document.createElement("div");
      found.id = BAR;
      found.setAttribute("role", "status");
      found.style.cssText =
        "position:fixed;left:0;right:0;bottom:0;z-index:2000;display:flex;flex-wrap:wrap;gap:4px 14px;" +
        "align-items:center;padding:5px 14px;font:13px/1.5 system-ui,sans-serif;color:#f4f4f4;" +
        "background:rgba(20,20,24,.94);border-top:1px solid #555;pointer-events:none";
      document.body.appendChild(found);
    }
    return found;
  }

  function part(tag, text, style) {
    const made = document.createElement(tag);
    made.textContent = text; // names of classes come from folders: text, never markup
    made.style.cssText = style;
    return made;
  }

  let state = "";
  let note = "";
  function draw() {
    const found = bar();
    found.replaceChildren();
    found.appendChild(part("b", note || state, `color:${note ? "#ffd166" : "#9be59b"};min-width:120px`));
    for (const { key, words } of keys.values()) {
      const one = document.createElement("span");
      const cap = "border:1px solid #888;border-radius:4px;padding:0 6px;margin-right:5px;background:#333";
      one.append(part("kbd", key, cap), part("span", words, ""));
      found.appendChild(one);
    }
  }

  function say(text) {
    note = text;
    draw();
  }

  class ShowKeys extends operators.Operator {
    get config() {
      return new operators.OperatorConfig({ name: "show_keys", label: "Show the review's keys", unlisted: true });
    }
    async execute({ params }) {
      if (params.keys) keys = new Map(params.keys.map((entry) => [entry.key, entry]));
      if (params.state !== undefined) state = params.state;
      note = "";
      softening = null;
      if (keys.size) {
        draw();
      } else {
        document.getElementById(BAR)?.remove();
      }
    }
  }

  operators.registerOperator(ShowKeys, PLUGIN);
  window.addEventListener("keydown", pressed, true);
})();
