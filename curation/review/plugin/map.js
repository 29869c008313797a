/* The map of all images: a point each, near ones look alike; coloured by label, issue or decision; a lasso makes a queue.
 *
 * FiftyOne's own panel shows the points of the grid's view only, and wants several clicks before it shows any.
 */
const COLOURS = ["#4a92e8", "#e9a23b", "#2fb88c", "#d76bb1", "#8f82e0", "#dd7d52", "#86bd4a", "#95a1ac", "#e85d5d", "#5dd0e8", "#e8d95d", "#b07d4a"];
const FAINT = "#4a4a52"; // what has nothing to say: no issue, no decision
const STYLE = `
#face-curation-map { position: fixed; inset: 0 0 var(--bar, 70px) 0; z-index: 99999; background: #17171b; color: #f4f4f4;
  font: 14px/1.45 system-ui, sans-serif; display: grid; grid-template: auto minmax(0, 1fr) / minmax(0, 1fr) 260px; }
#face-curation-map header { grid-column: 1 / -1; display: flex; gap: 14px; align-items: center; padding: 10px 18px; }
#face-curation-map h2 { font-size: 17px; margin: 0; flex: 1; font-weight: 600; }
#face-curation-map button, #face-curation-map select { font: inherit; color: inherit; background: #26262c; cursor: pointer;
  border: 1px solid #666; border-radius: 6px; padding: 2px 10px; }
#face-curation-map button:disabled { opacity: .4; cursor: default; }
#face-curation-map canvas { width: 100%; height: 100%; cursor: crosshair; touch-action: none; }
#face-curation-map ul { list-style: none; margin: 0; padding: 0 14px; overflow: auto; }
#face-curation-map li button { all: unset; cursor: pointer; display: flex; gap: 8px; align-items: baseline; padding: 2px 0; width: 100%; }
#face-curation-map li button[aria-pressed=false] { opacity: .35; }
#face-curation-map i { width: 11px; height: 11px; border-radius: 50%; flex: none; }
#face-curation-map li span { flex: 1; overflow-wrap: anywhere; }
`;

const numbers = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

/** Show the map of what Python told; ``queue`` and ``open`` are given names of images, ``closed`` is called at the end. */
export function openMap({ told, make, queue, open, closed }) {
  const points = numbers(told.points, Uint16Array);
  const codes = Object.fromEntries(Object.entries(told.colours).map(([by, { codes: text }]) => [by, numbers(text, Uint8Array)]));
  let by = Object.keys(told.colours)[0];
  let hidden = new Set();
  let path = []; // the lasso, in fractions of the canvas
  let chosen = [];

  const canvas = make("canvas", { "aria-label": "map of all images", role: "img" });
  const legend = make("ul", {});
  const count = make("span", { role: "status" }, `${told.names.length.toLocaleString()} images; draw around some, or click one`);
  const select = make("select", { "aria-label": "Colour by" }, ...Object.keys(told.colours).map((name) => make("option", { value: name }, `coloured by ${name}`)));
  const take = make("button", { type: "button", "data-take": true, disabled: true }, "queue them (q)");
  const shut = make("button", { type: "button" }, "close (Esc)");
  const root = make("div", { id: "face-curation-map", role: "dialog", "aria-label": "Map of all images", tabindex: "-1" },
    make("style", {}, STYLE), make("header", {}, make("h2", {}, "Map of all images"), count, select, take, shut), canvas, legend);

  const colour = (code) => (told.colours[by].names[code] === "none" ? FAINT : COLOURS[code % COLOURS.length]);
  const shown = (n) => !hidden.has(codes[by][n]);
  const margin = 0.02;
  const x = (n) => margin + (1 - 2 * margin) * (points[2 * n] / 65535);
  const y = (n) => margin + (1 - 2 * margin) * (points[2 * n + 1] / 65535);

  function draw() {
    const ratio = devicePixelRatio || 1;
    [canvas.width, canvas.height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio];
    const pen = canvas.getContext("2d");
    const size = Math.max(2, Math.min(6, 160 / Math.sqrt(told.names.length))) * ratio;
    const order = [...told.names.keys()].filter(shown).sort((a, b) => (colour(codes[by][a]) === FAINT ? 0 : 1) - (colour(codes[by][b]) === FAINT ? 0 : 1));
    const picked = new Set(chosen);
    for (const n of order) {
      pen.globalAlpha = chosen.length && !picked.has(n) ? 0.15 : 0.85;
      pen.fillStyle = colour(codes[by][n]);
      pen.fillRect(x(n) * canvas.width - size / 2, y(n) * canvas.height - size / 2, size, size);
    }
    pen.globalAlpha = 1;
    if (path.length > 1) {
      pen.strokeStyle = "#ffd166";
      pen.lineWidth = 1.5 * ratio;
      pen.beginPath();
      path.forEach(([px, py]) => pen.lineTo(px * canvas.width, py * canvas.height));
      pen.closePath();
      pen.stroke();
    }
  }

  function list() {
    const sizes = new Map();
    codes[by].forEach((code) => sizes.set(code, (sizes.get(code) || 0) + 1));
    legend.replaceChildren(...told.colours[by].names.map((name, code) => {
      const dot = make("i", { style: `background: ${colour(code)}` });
      const button = make("button", { type: "button", "aria-pressed": String(!hidden.has(code)) }, dot, make("span", {}, name), (sizes.get(code) || 0).toLocaleString());
      button.addEventListener("click", () => {
        hidden.has(code) ? hidden.delete(code) : hidden.add(code);
        choose();
        list();
      });
      return make("li", {}, button);
    }));
  }

  /** Whether a point lies inside the lasso: a line to the right crosses its edges an odd number of times. */
  const inside = (px, py) => path.reduce((odd, [ax, ay], n) => {
    const [bx, by_] = path[(n + 1) % path.length];
    return ay > py !== by_ > py && px < ((bx - ax) * (py - ay)) / (by_ - ay) + ax ? !odd : odd;
  }, false);

  function choose() {
    chosen = path.length > 2 ? [...told.names.keys()].filter((n) => shown(n) && inside(x(n), y(n))) : [];
    take.disabled = !chosen.length;
    if (path.length > 2) count.textContent = `${chosen.length.toLocaleString()} images chosen`;
    draw();
  }

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const nearest = ([px, py]) => {
    const far = (n) => Math.hypot((x(n) - px) * canvas.clientWidth, (y(n) - py) * canvas.clientHeight);
    const found = [...told.names.keys()].filter(shown).reduce((best, n) => (best < 0 || far(n) < far(best) ? n : best), -1);
    return found >= 0 && far(found) < 12 ? found : -1;
  };
  let drawing = false;
  canvas.addEventListener("pointerdown", (event) => {
    drawing = true;
    canvas.setPointerCapture(event.pointerId);
    path = [at(event)];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing) return;
    path.push(at(event));
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    drawing = false;
    const [[ax, ay], [bx, by_]] = [path[0], at(event)];
    const far = path.some(([px, py]) => Math.hypot(px - ax, py - ay) > 0.01);
    if (!far) {
      path = [];
      const one = nearest([bx, by_]);
      if (one >= 0) open(told.names[one]);
    }
    choose();
  });
  select.addEventListener("change", () => {
    by = select.value;
    hidden = new Set();
    choose();
    list();
  });
  const close = () => {
    removeEventListener("resize", draw);
    root.remove();
    closed();
  };
  const queueChosen = () => chosen.length && queue(chosen.map((n) => told.names[n]));
  take.addEventListener("click", queueChosen);
  shut.addEventListener("click", close);
  addEventListener("resize", draw);
  document.body.append(root);
  list();
  draw();
  root.focus();
  return { close, queueChosen };
}
