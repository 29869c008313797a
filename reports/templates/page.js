"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  all("button[hidden]").forEach((button) => { button.hidden = false; });

  // ---- theme: follows the system until the reader chooses
  const themeButton = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a private window */ } };
  let theme = themes.includes(stored()) ? stored() : "system";
  const showTheme = () => {
    if (theme === "system") delete root.dataset.theme; else root.dataset.theme = theme;
    themeButton.textContent = `Theme: ${theme}`;
  };
  showTheme();

  themeButton.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    store(theme);
    showTheme();
    dispatchEvent(new Event("themechange"));
  });

  // ---- print: light, everything unfolded that is not too much for paper
  let folded = [];
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    folded = all("details:not([open]):not(.bulky)");
    folded.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => {
    folded.forEach((details) => { details.open = false; });
    showTheme();
  });

  // ---- on a phone a long page begins with its summary and checks; a click unfolds the rest
  if (document.getElementById("filters") && matchMedia("(max-width: 560px)").matches) {
    all("details.sub, details.section:not(#checks-section)").forEach((details) => { details.open = false; });
  }

  // ---- folding, and links to what is folded
  all("[data-fold]").forEach((button) => button.addEventListener("click", () => {
    all("details.section, details.sub").forEach((details) => { details.open = button.dataset.fold === "open"; });
  }));
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();

  // ---- tables: sort by a click on a heading, download as CSV
  const plain = (cell) => cell.dataset.value ?? cell.textContent.trim();
  const collator = new Intl.Collator(undefined, { numeric: true });
  const sort = (table, place, descending) => {
    const body = table.tBodies[0];
    const rows = all("tr:not(.total)", body);
    const numeric = rows.every((row) => row.cells[place].dataset.value !== undefined);
    rows.sort((a, b) => {
      const [x, y] = [plain(a.cells[place]), plain(b.cells[place])];
      return (descending ? -1 : 1) * (numeric ? Number(x) - Number(y) : collator.compare(x, y));
    });
    body.append(...rows, ...all("tr.total", body));
  };
  all("table:not(.cover)").forEach((table) => all("thead th", table).forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const first = heading.matches(".count, .share, .number, .decimal") ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const next = heading.getAttribute("aria-sort") === first ? other : first;
      all("thead th", table).forEach((each) => each.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", next);
      sort(table, place, next === "descending");
    });
  }));
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  all("[data-csv]").forEach((button) => button.addEventListener("click", () => {
    const rows = all("tr", document.getElementById(button.dataset.csv));
    const text = rows.map((row) => [...row.cells].map((cell) => quoted(plain(cell))).join(",")).join("\r\n") + "\r\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
    link.download = `${button.dataset.csv}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));

  // ---- commands: copied by a click
  all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a browser that does not allow it for files
      const field = document.createElement("textarea");
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    const before = button.textContent;
    button.textContent = "copied";
    setTimeout(() => { button.textContent = before; }, 1200);
  }));

  // ---- long lists: the first few, the rest by a click
  all("[data-more]").forEach((button) => button.addEventListener("click", () => {
    button.closest(".sub").classList.add("whole");
    button.remove();
  }));

  // ---- pictures: filtered, sorted, enlarged
  const filters = document.getElementById("filters");
  if (filters) {
    filters.hidden = false;
    const items = all(".item");
    const chosen = (name) => filters.elements[name].value;
    const has = (list, value) => !value || list.split("|").includes(value);
    const filter = () => {
      const words = chosen("text").trim().toLowerCase();
      const active = ["check", "label", "split", "outcome"].some(chosen) || words !== "";
      let shown = 0;
      items.forEach((item) => {
        const { check, label, split, outcome, text } = item.dataset;
        const fits = has(check, chosen("check")) && has(label, chosen("label")) && has(split, chosen("split")) &&
          has(outcome, chosen("outcome")) && (!words || text.toLowerCase().includes(words));
        item.hidden = !fits;
        shown += fits;
      });
      all(".sub[data-items]").forEach((sub) => {
        const any = all(".item:not([hidden])", sub).length;
        sub.hidden = active && !any;
        if (active && any) sub.open = true;
        sub.classList.toggle("filtered", active);
      });
      all("[data-class-head]").forEach((head) => { head.hidden = !all(".item:not([hidden])", head.nextElementSibling).length; });
      filters.querySelector("[role=status]").textContent = active ? `${shown} of ${items.length} shown` : "";
    };
    const order = () => {
      const by = chosen("order");
      const compare = {
        score: (a, b) => Number(a.dataset.score) - Number(b.dataset.score),
        path: (a, b) => collator.compare(a.dataset.text, b.dataset.text),
      }[by];
      all(".pictures, .groups").forEach((list) => list.append(...all(":scope > .item", list).sort(compare)));
    };
    filters.addEventListener("input", filter);
    filters.elements.order.addEventListener("change", order);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("reset", () => setTimeout(() => { order(); filter(); }));
  }
  const large = document.getElementById("large");
  if (large) {
    const [picture, words, command] = ["img", "[data-words]", "[data-copy]"].map((one) => large.querySelector(one));
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-large]");
      if (!button) return;
      const small = button.querySelector("img");
      picture.src = small.src;
      picture.alt = small.alt;
      words.textContent = small.alt;
      command.dataset.copy = `curate explain ${button.dataset.large}`;
      large.querySelector("code").textContent = command.dataset.copy;
      large.showModal();
    });
    large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
  }
})();
