/* The review's keys, its bar of buttons and its opened view. Plain script, no build step; FiftyOne's Python operators
 * have no keys of their own, and its own view of an image shows one at a time, in hard squares.
 *
 * Python says which keys there are (show_keys, below) when a dataset under review is opened; until then, and on every
 * other dataset, nothing is listened to. Everything that is decided is decided by a Python operator; here is only shown
 * what it answers. A key counts for what is on the screen: while an answer is on its way, or the next picture is not
 * painted yet, keys do nothing, and the bar says so.
 */
(function () {
  "use strict";
  const PLUGIN = "@face-curation/review";
  const BAR = "face-curation-keys";
  const VIEWER = "face-curation-viewer";
  const LOOK_MS = 150; // a picture that was painted just now has not been seen: the shortest glance
  const LATE_MS = 20000;
  const WARNED_MS = 2500;
  const HERE = document.currentScript && document.currentScript.src;
  const operators = window.__foo__;
  const state_ = window.__fos__ || {};

  let keys = new Map();
  let softening = null; // the classes chosen so far after the key for soften, or null
  let pending = false; // an answer is on its way
  let state = "";
  let note = "";
  let warned = false; // the note says why something was not done
  let saidAt = 0;
  let map = null; // the opened map of all images, or null

  // ---- elements; every text comes in as text: names of classes and files come from folders
  function make(tag, attributes, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...content.filter((each) => each !== null && each !== undefined && each !== ""));
    return made;
  }

  const STYLE = `
#root { height: calc(100vh - var(--bar, 0px)) !important; } /* nothing of the App's own lies under the bar */
#${BAR}, #${VIEWER} { font: 14px/1.45 system-ui, sans-serif; color: #f4f4f4; }
#${BAR} { position: fixed; left: 0; right: 0; bottom: 0; z-index: 100001; display: flex; flex-wrap: wrap; gap: 4px 6px;
  align-items: center; padding: 5px 14px; background: rgba(20, 20, 24, .96); border-top: 1px solid #555; }
#${BAR} b { color: #9be59b; min-width: 130px; margin-right: 6px; }
#${BAR} b.warned { color: #ffd166; }
#${BAR} button { all: unset; cursor: pointer; border-radius: 5px; padding: 1px 6px 1px 2px; font-size: 13px; }
#${BAR} button:hover { background: #3a3a44; }
#${BAR} button:focus-visible, #${VIEWER} button:focus-visible { outline: 2px solid #ffd166; }
#${BAR} kbd { border: 1px solid #888; border-radius: 4px; padding: 0 6px; margin-right: 5px; background: #333;
  font: 12px/1.5 ui-monospace, monospace; }
#${VIEWER} { position: fixed; inset: 0; z-index: 100000; background: #17171b; display: grid;
  grid-template: auto minmax(0, 1fr) / minmax(0, 1fr) 360px; padding-bottom: var(--bar, 70px); }
#${VIEWER}[hidden] { display: none; }
#${VIEWER} header { grid-column: 1 / -1; display: flex; gap: 16px; align-items: center; padding: 10px 18px; }
#${VIEWER} h2 { font-size: 17px; font-weight: 600; margin: 0; flex: 1; overflow-wrap: anywhere; }
#${VIEWER} header span { color: #b9b6ae; }
#${VIEWER} .round { all: unset; cursor: pointer; border: 1px solid #666; border-radius: 6px; padding: 2px 10px; }
#${VIEWER} .round:hover { background: #333; }
#${VIEWER} .pictures { display: flex; flex-wrap: wrap; gap: 14px; justify-content: center; align-content: center;
  padding: 0 18px 12px; overflow: auto; min-height: 0; }
#${VIEWER} figure { margin: 0; display: flex; flex-direction: column; max-width: 100%; }
#${VIEWER} .frame { all: unset; position: relative; display: block; cursor: pointer; border: 3px solid transparent;
  border-radius: 8px; overflow: hidden; opacity: .35; }
#${VIEWER} .frame[aria-pressed=true] { opacity: 1; }
#${VIEWER} .several .frame[aria-pressed=true] { border-color: #4a92e8; }
#${VIEWER} .frame img { display: block; width: 100%; height: 100%; object-fit: contain; image-rendering: auto; }
#${VIEWER} .frame img + img { position: absolute; inset: 0; object-fit: fill; }
#${VIEWER}.plain .frame img + img { display: none; }
#${VIEWER} .stamp { position: absolute; left: 8px; bottom: 8px; padding: 2px 10px; border-radius: 6px; font-size: 18px;
  font-weight: 650; background: #18794e; }
#${VIEWER} .stamp.exclude { background: #b3261e; } #${VIEWER} .stamp.changed { background: #6b4fbb; }
#${VIEWER} .label { position: absolute; left: 8px; top: 8px; padding: 1px 9px; border-radius: 6px;
  background: rgba(20, 20, 24, .8); font-weight: 600; }
#${VIEWER} figcaption { color: #c9c6be; font-size: 12.5px; overflow-wrap: anywhere; padding-top: 3px; }
#${VIEWER} figcaption em { font-style: normal; color: #ff9c8f; display: block; }
#${VIEWER} aside { overflow: auto; padding: 4px 18px 12px 6px; min-height: 0; }
#${VIEWER} aside h3 { font-size: 14px; font-weight: 650; margin: 12px 0 4px; overflow-wrap: anywhere; }
#${VIEWER} aside ul { margin: 0; padding-left: 18px; list-style: disc; } #${VIEWER} aside li { margin: 3px 0; overflow-wrap: anywhere; }
#${VIEWER} .suggested { border: 1px solid #ffd166; border-radius: 8px; padding: 6px 12px; margin: 6px 0; }
@media (max-width: 900px) { #${VIEWER} { grid-template: auto minmax(0, 1fr) minmax(0, 34%) / minmax(0, 1fr); } }
`;

  // ---- Python
  function run(name, params) {
    const asked = new Promise((resolve) => {
      const callback = (answer) => resolve((answer && (answer.result || { error: answer.error || "" })) || {});
      operators.executeOperator(`${PLUGIN}/${name}`, params || {}, { callback });
    });
    const late = new Promise((resolve) => setTimeout(() => resolve({ error: "the App's server does not answer" }), LATE_MS));
    return Promise.race([asked, late]);
  }

  /** Do one thing at a time; what comes meanwhile is refused, with a word. */
  async function alone(work) {
    if (pending) return say("wait: the last key is still being written down", true);
    pending = true;
    try {
      return await work();
    } finally {
      pending = false;
    }
  }

  // ---- keys
  const CLICKED = /^(button|checkbox|color|file|image|radio|range|reset|submit)$/; // inputs that nobody types in

  /** Someone is typing, or a dialog asks for something: keys belong to that. */
  function busy(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return true;
    if (viewer.isOpen()) return false; // it covers everything else
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

  function pressed(event) {
    if (!keys.size || busy(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (softening && key === "Escape") {
      softening = null;
      say("");
    } else if (map && key === "Escape" && !viewer.isOpen()) {
      map.close();
    } else if (keys.has(key)) {
      act(keys.get(key));
    } else if (!viewer.isOpen() || !viewer.pressed(key)) {
      return;
    }
    // the App has keys of its own for some of these (x, z, c); while a review is open, ours come first
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  function soften(chosen) {
    if (chosen.operator !== "relabel") {
      softening = null;
      return say("");
    }
    softening.push(chosen.params.label);
    if (softening.length < 2) return say(`between ${softening[0]} and …`);
    const [first, second] = softening;
    softening = null;
    return answer("soften", { first, second });
  }

  function act(chosen) {
    if (softening) return soften(chosen);
    if (map && !viewer.isOpen() && !["queue", "map"].includes(chosen.operator)) return say("close the map first", true);
    switch (chosen.operator) {
      case "soften":
        softening = [];
        return say("between … and …: press two classes");
      case "next":
        return alone(() => viewer.next());
      case "undo":
        return undo();
      case "queue":
        return map ? map.queueChosen() || say("draw around some images first", true) : queue({});
      case "map":
        return map ? map.close() : alone(showMap);
      case "difference":
        return viewer.isOpen() ? viewer.toggleMarks() : say("open an image that has copies first", true);
      case "view":
        return viewer.toggle();
      case "not_same":
        return answer("not_same", viewer.isOpen() ? { others: viewer.leftOut() } : {});
      default:
        return answer(chosen.operator, chosen.params);
    }
  }

  function answer(operator, params) {
    return alone(async () => {
      if (viewer.isOpen() && !viewer.isSeen()) return say("that key did nothing: the picture was not shown yet", true);
      const names = viewer.isOpen() ? viewer.chosen() : [];
      const told = await run(operator, names.length ? { ...params, names } : params);
      if (told.error) return say(told.error, true);
      if (names.length) await viewer.answered(told.decided, told.ranking);
    });
  }

  function undo() {
    return alone(async () => {
      const told = await run("undo");
      if (told.error) return say(told.error, true);
      if (viewer.isOpen()) await viewer.showAgain(told.names);
      say(told.note);
    });
  }

  function queue(params) {
    return alone(async () => {
      const told = await run("queue", params);
      if (told.error) return say(told.error, true);
      if (map) map.close();
      await viewer.openQueue();
      say(`${told.queued} images are the queue now`);
    });
  }

  async function showMap() {
    const [{ openMap }, told] = await Promise.all([import(new URL("map.js", HERE)), run("map")]);
    if (told.error) return say(told.error, true);
    map = openMap({
      told,
      make,
      queue: (names) => queue({ queue: names }),
      open: (name) => alone(() => viewer.openNamed([name])),
      closed: () => { map = null; draw(); },
    });
    draw();
  }

  // ---- the bar
  function bar() {
    let found = document.getElementById(BAR);
    if (!found) {
      found = make("div", { id: BAR, role: "toolbar", "aria-label": "Review" });
      document.body.append(make("style", {}, STYLE), found);
    }
    return found;
  }

  function draw() {
    if (!keys.size) return;
    const found = bar();
    const said = make("b", { role: "status", class: warned && note ? "warned" : undefined }, note ? `${state}; ${note}` : state);
    const buttons = [...keys.values()]
      .filter(({ operator }) => viewer.offers(operator))
      .map((each) => {
        const words = (viewer.isOpen() && viewer.words(each)) || each.words;
        const button = make("button", { type: "button", "data-key": each.key, title: words }, make("kbd", {}, each.key), words);
        button.addEventListener("click", () => act(each));
        return button;
      });
    found.replaceChildren(said, ...buttons);
    document.documentElement.style.setProperty("--bar", `${found.offsetHeight}px`);
    document.getElementById(VIEWER)?.style.setProperty("--bar", `${found.offsetHeight}px`);
  }

  function hideBar() {
    document.getElementById(BAR)?.replaceChildren();
    document.documentElement.style.setProperty("--bar", "0px");
  }

  function say(text, warning) {
    note = text;
    warned = Boolean(warning);
    saidAt = Date.now();
    draw();
  }

  // ---- the opened view: an image, or a group of copies, large, with what speaks for and against it
  const frames = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const source = (file) => (state_.getSampleSrc || ((path) => `/media?filepath=${encodeURIComponent(path)}`))(file);

  const viewer = (() => {
    let walk = []; // names in order; the first of each image or group is enough
    let [place, ranking] = [0, 0]; // in the walk; the number of the queue's order that the walk has
    let inQueue = false; // the walk is the queue's: at its end, and when it was ranked anew, the queue is asked again
    let people = null; // whether the walk is of people; null: as the queue says of each
    let units = new Map(); // name of every image -> what is known of its group
    let current = null;
    let off = new Set(); // names of the current group that a key is not about
    let seen = false;
    let showing = 0; // counts what was asked to be shown: a later one wins

    const element = () => document.getElementById(VIEWER);
    const isOpen = () => Boolean(element() && !element().hidden);
    const open = () => {
      if (!element()) {
        bar();
        document.body.append(make("div", { id: VIEWER, role: "dialog", "aria-modal": "true", tabindex: "-1" }));
      }
      element().hidden = false;
    };
    const remember = (list) => {
      for (const unit of list || []) {
        unit.pictures = unit.images.map(({ file }) => Object.assign(new Image(), { src: source(file) }));
        unit.images.forEach(({ name }) => units.set(name, unit));
      }
    };
    const fetchAhead = async () => {
      const missing = walk.slice(place, place + 8).filter((name) => !units.has(name));
      if (missing.length) remember((await run("look", { names: missing, people })).units);
    };
    const begin = async (params) => {
      const told = await run("look", params);
      if (told.error) return say(told.error, true);
      if (told.state) state = told.state;
      [note, warned] = ["", false];
      [walk, place, units, ranking] = [told.walk || [], told.place || 0, new Map(), told.ranking];
      inQueue = !params.here && !params.names;
      people = told.people ?? null;
      remember(told.units);
      if (!walk.length) {
        close();
        return say("the queue is done");
      }
      open();
      return show(units.get(walk[place]));
    };

    const figure = (image, number) => {
      const chosen = !off.has(image.name);
      const several = current.images.length > 1;
      const frame = make("button", { type: "button", class: "frame", "aria-pressed": String(chosen), title: several ? "a key is about this one, or not" : "" });
      const picture = current.pictures[number];
      picture.alt = `${image.label ? image.label + ": " : ""}${image.name}`;
      frame.append(picture);
      const marks = current.marks && current.marks[image.name];
      if (marks && marks.overlay) frame.append(make("img", { src: marks.overlay, alt: "marked: where it differs from the first" }));
      if (image.label) frame.append(make("span", { class: "label" }, image.label));
      if (image.decided) {
        const kind = image.decided === "exclude" ? "exclude" : image.decided.startsWith("→") ? "changed" : "";
        frame.append(make("span", { class: `stamp ${kind}` }, image.decided));
      }
      if (several) {
        frame.addEventListener("click", () => {
          off.has(image.name) ? off.delete(image.name) : off.add(image.name);
          if (off.size === current.images.length) off.clear();
          render();
        });
      }
      const words = [image.name, image.whose && make("div", {}, image.whose), image.state && make("em", {}, image.state), marks && make("div", {}, marks.words)];
      return make("figure", {}, frame, make("figcaption", {}, ...words));
    };

    const evidence = () => {
      const parts = [];
      if (current.suggestion) parts.push(make("p", { class: "suggested" }, "suggested: ", make("b", {}, current.suggestion), "; press a to accept"));
      for (const image of current.images) {
        if (!image.evidence.length && current.images.length > 1) continue;
        parts.push(make("h3", {}, image.name));
        const lines = image.evidence.length ? image.evidence : ["no check flags it"];
        parts.push(make("ul", {}, ...lines.map((line) => make("li", {}, line))));
      }
      return keys.has("k") ? parts : []; // blind: nothing is told
    };

    const size = () => {
      const count = current.images.length;
      const [wide, high] = [Math.max(element().clientWidth - (innerWidth > 900 ? 400 : 40), 200), innerHeight - 190];
      const columns = count === 1 ? 1 : Math.min(count, Math.max(2, Math.ceil(Math.sqrt((count * wide) / high))));
      const rows = Math.min(Math.ceil(count / columns), 3);
      return Math.round(Math.max(Math.min((wide - 14 * columns) / columns, high / rows - 46 * (rows > 1 || count > 1)), 140));
    };

    const render = () => {
      if (!current || !isOpen()) return;
      const side = size();
      const shown = make("div", { class: `pictures${current.images.length > 1 ? " several" : ""}` }, ...current.images.map(figure));
      shown.querySelectorAll(".frame").forEach((frame) => { frame.style.width = frame.style.height = `${side}px`; });
      shown.querySelectorAll("figcaption").forEach((caption) => { caption.style.maxWidth = `${side}px`; });
      const shut = make("button", { type: "button", class: "round", "data-close": true }, "close (Esc)");
      shut.addEventListener("click", close);
      const where = walk.length > 1 ? `${place + 1} of ${walk.length}${inQueue ? " in the queue" : " in the grid"}` : "";
      const title = current.title || current.images[0].name;
      const head = make("header", {}, make("h2", {}, title), make("span", {}, where), step("ArrowLeft", "←"), step("ArrowRight", "→"), shut);
      element().setAttribute("aria-label", `Review: ${title}`);
      element().replaceChildren(head, shown, make("aside", {}, ...evidence()));
      draw();
    };
    const step = (key, words) => {
      const button = make("button", { type: "button", class: "round", "aria-label": key === "ArrowLeft" ? "back" : "forward" }, words);
      button.addEventListener("click", () => pressed(key));
      return button;
    };

    /** Show a group and count it as seen when its pictures have been on the screen for a glance. */
    const show = async (unit) => {
      if (!unit) return say("that image is no longer there", true);
      const mine = ++showing;
      seen = false;
      await Promise.all(unit.pictures.map((picture) => picture.decode().catch(() => {})));
      if (mine !== showing) return;
      current = unit;
      const open_ = unit.images.filter(({ decided }) => !decided);
      off = new Set(open_.length ? unit.images.filter(({ decided }) => decided).map(({ name }) => name) : []);
      open();
      render();
      element().focus({ preventScroll: true });
      fetchAhead();
      mark(unit);
      frames().then(() => pause(LOOK_MS)).then(() => { seen = seen || mine === showing; });
      await frames();
    };

    const mark = async (unit) => {
      if (unit.images.length < 2 || unit.people || unit.marks || !keys.has("d")) return;
      unit.marks = {};
      unit.marks = (await run("mark_difference", { names: unit.images.map(({ name }) => name) })).marks || {};
      if (unit === current) render();
    };

    /** Go on by one in the walk, over what belongs to the group that is shown. */
    const move = async (way) => {
      let to = place + way;
      const isDone = (unit) => way > 0 && inQueue && Boolean(unit) && unit.images.every((image) => image.decided);
      const isPast = (unit) => (current && unit === current) || isDone(unit);
      while (walk[to] !== undefined && isPast(units.get(walk[to]))) to += way;
      if (walk[to] === undefined) {
        if (way > 0 && inQueue) return begin({});
        return say(way > 0 ? "that was the last; n goes on with the queue" : "that is the first", true);
      }
      place = to;
      await fetchAhead();
      return show(units.get(walk[place]));
    };

    /** Take what comes next from the queue as it is now; what was shown stays behind. */
    const rankAnew = async () => {
      const told = await run("look", {});
      const behind = walk.slice(0, place + 1);
      const shown = new Set(behind.flatMap((name) => [name, ...(units.get(name)?.images || []).map((image) => image.name)]));
      [walk, ranking] = [[...behind, ...(told.walk || []).filter((name) => !shown.has(name))], told.ranking];
    };

    const close = () => {
      showing += 1;
      current = null;
      if (element()) element().hidden = true;
      if (modalIsOpen()) operators.executeOperator("close_sample", {});
      run("open_session");
      draw();
    };

    return {
      isOpen,
      isSeen: () => seen && Boolean(current),
      close,
      /** Whether a command means anything now; classes and decisions always do. */
      offers: (operator) =>
        ({
          accept: !isOpen() || Boolean(current && current.suggestion),
          queue: !isOpen(),
          map: !isOpen(),
          difference: isOpen() && Boolean(current && current.images.length > 1 && !current.people),
          same: !isOpen() || Boolean(current && current.people),
          not_same: !isOpen() || Boolean(current && current.people),
          view: modalIsOpen(),
        })[operator] ?? true,
      openQueue: () => begin({}),
      openHere: () => begin({ here: true }),
      openNamed: (names) => begin({ names }),
      chosen: () => current.images.map(({ name }) => name).filter((name) => !off.has(name)),
      leftOut: () => [...off],
      words: ({ operator }) => current && {
        same: `same person (${current.images.length - off.size})`,
        not_same: off.size ? "not the person of those left out" : "no two are one person",
        keep: current.keep,
        accept: current.suggestion && `accept: ${current.suggestion}`,
        next: "next",
      }[operator],
      next: () => (isOpen() ? move(1) : begin({})),
      toggleMarks: () => element().classList.toggle("plain"),
      toggle: () => {
        if (isOpen()) {
          if (!modalIsOpen()) return say("open a tile for FiftyOne's own view of it", true);
          element().hidden = true;
          return draw();
        }
        return modalIsOpen() ? alone(() => begin({ here: true })) : say("open an image first", true);
      },
      /** Draw what was decided, and go on where nothing of the group is left open. */
      answered: async (decided, now) => {
        for (const image of current.images) image.decided = decided[image.name] ?? image.decided;
        if (current.images.some((image) => !image.decided)) {
          off = new Set(current.images.filter((image) => image.decided).map(({ name }) => name));
          return render();
        }
        render();
        if (inQueue && now !== ranking) await rankAnew();
        return move(1);
      },
      /** Show what was taken back, in its place of the walk. */
      showAgain: async (names) => {
        const told = await run("look", { names: names.slice(0, 1), people });
        remember(told.units);
        const unit = units.get(names[0]);
        if (!unit) return;
        const there = walk.findIndex((name) => unit.images.some((image) => image.name === name));
        if (there >= 0) place = there;
        else walk.splice(place, 0, names[0]);
        await show(unit);
      },
      pressed: (key) => pressed(key),
      redraw: render,
    };

    function pressed(key) {
      if (key === "Escape") close();
      else if (key === "ArrowRight" || key === "ArrowLeft") alone(() => move(key === "ArrowRight" ? 1 : -1));
      else return !["Tab", "Enter", " ", "Shift"].includes(key) && !/^F\d+$/.test(key); // the App below hears nothing
      return true;
    }
  })();

  // ---- FiftyOne's own view: a tile that is clicked opens it, and ours over it
  const modalIsOpen = () => Boolean(document.querySelector("#modal [data-cy=modal]"));
  let wasOpen = false;
  function watchModal() {
    const isOpen = modalIsOpen();
    if (isOpen !== wasOpen && keys.size) {
      if (isOpen) alone(() => viewer.openHere());
      else if (viewer.isOpen() && wasOpen) viewer.close();
    }
    wasOpen = isOpen;
  }

  // ---- what Python tells: keys, where the review stands, samples as they are now
  class ShowKeys extends operators.Operator {
    get config() {
      return new operators.OperatorConfig({ name: "show_keys", label: "Show the review's keys", unlisted: true });
    }
    useHooks() {
      return { updateSamples: state_.useUpdateSamples ? state_.useUpdateSamples() : null };
    }
    async execute({ hooks, params }) {
      if (params.keys) {
        keys = new Map(params.keys.map((entry) => [entry.key, entry]));
        softening = null;
      }
      if (params.state !== undefined) state = params.state;
      if (params.note !== undefined) {
        const lately = warned && Date.now() - saidAt < WARNED_MS; // what was refused meanwhile is still to be read
        const both = lately && note !== params.note ? `${params.note}; ${note}` : params.note;
        [note, warned] = [both, lately || Boolean(params.refused)];
      }
      if (params.samples && params.samples.length) {
        if (hooks && hooks.updateSamples) hooks.updateSamples(params.samples.map((sample) => [sample._id, sample]));
        if (!tiles.update(params.samples)) operators.executeOperator("reload_dataset", {});
      }
      if (keys.size) draw();
      else hideBar();
    }
  }

  // ---- tiles: the grid keeps its lookers to itself, and would draw itself anew for one changed label
  const tiles = (() => {
    const Looker = (window.__fol__ || {}).AbstractLooker;
    const lookers = new Map(); // sample id -> its tile, and its larger picture in FiftyOne's own view
    const ids = new WeakMap(); // looker -> sample id: what it hands on later has none
    const fresh = new Map(); // sample id -> the sample as Python told it last
    if (!Looker || !Looker.prototype.loadSample || !Looker.prototype.updateSample) return { update: () => false };
    const load = Looker.prototype.loadSample;
    const told = (sample) => Number((sample.last_modified_at || {}).datetime || 0);
    Looker.prototype.loadSample = function (sample, ...rest) {
      if (sample._id && !ids.has(this)) {
        ids.set(this, sample._id);
        lookers.set(sample._id, [...(lookers.get(sample._id) || []).filter((each) => each.deref()), new WeakRef(this)]);
      }
      const newer = fresh.get(sample._id || ids.get(this));
      return load.call(this, newer && (!sample._id || told(newer) >= told(sample)) ? newer : sample, ...rest);
    };
    const decided = (sample) => sample && sample.decided && sample.decided.label;
    /** Its tags are drawn anew only where an option has changed, or playing: which an image never does. */
    const drawTags = (looker, sample, tries = 50) => {
      if (!looker) return;
      if (decided(looker.sample) === decided(sample)) [true, false].forEach((playing) => looker.updater({ playing }));
      else if (tries && fresh.get(sample._id) === sample) setTimeout(() => drawTags(looker, sample, tries - 1), 40);
    };
    return {
      update(samples) {
        for (const sample of samples) {
          fresh.set(sample._id, sample);
          for (const each of lookers.get(sample._id) || []) {
            each.deref()?.updateSample(sample);
            drawTags(each.deref(), sample);
          }
        }
        return true;
      },
    };
  })();

  /** Enlarge smoothly in FiftyOne's own tiles and views too; the files stay as they are. */
  function smooth() {
    const own = Object.getOwnPropertyDescriptor(CanvasRenderingContext2D.prototype, "imageSmoothingEnabled");
    if (!own || !own.configurable) return;
    Object.defineProperty(CanvasRenderingContext2D.prototype, "imageSmoothingEnabled", {
      ...own,
      set() {
        own.set.call(this, true);
        this.imageSmoothingQuality = "high";
      },
    });
  }

  /** Close FiftyOne's advertisement: by its own mark that it was seen, and where it is up already, by its own button. */
  function dismissAdvertisement() {
    try { localStorage.setItem("fiftyone-enterprise-tooltip-seen", "true"); } catch { /* a private window */ }
    const close = () => {
      const text = [...document.querySelectorAll(".MuiPopover-root")].find((each) => each.textContent.includes("FiftyOne Enterprise"));
      [...(text ? text.querySelectorAll("button") : [])].find((each) => each.textContent === "Dismiss")?.click();
    };
    [0, 300, 1000, 2500, 5000].forEach((ms) => setTimeout(close, ms));
  }

  smooth();
  dismissAdvertisement();
  operators.registerOperator(ShowKeys, PLUGIN);
  window.addEventListener("keydown", pressed, true);
  window.addEventListener("resize", () => { draw(); viewer.redraw(); });
  new MutationObserver(watchModal).observe(document.body, { childList: true, subtree: true });
})();
