// The explorer: curves of the atlas for one law, rung and schedule; what was not computed is disabled and says why.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("atlas-data").textContent);
  const form = document.getElementById("choice");
  const chart = document.getElementById("chart");
  const fields = form.elements;
  const boxes = [...form.querySelectorAll('[name="sampler"]')];
  const MARKERS = ["circle", "square", "diamond", "triangle-up", "x", "triangle-down", "cross"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const colours = (dark) => [dark ? "#f2efe8" : "#000000", dark ? "#56b4e9" : "#0072b2", dark ? "#ff9a5c" : "#d55e00",
    dark ? "#4fd0a4" : "#009e73", "#cc79a7", dark ? "#f0c64a" : "#c48600", dark ? "#9ecbe8" : "#2f8fc4"];

  // Every curve and every refusal under "target,sampler,schedule,rung".
  const curves = new Map(data.curves.map((curve) => [curve.slice(0, 4).join(), curve]));
  const refused = new Map(data.refused.map((row) => [row.slice(0, 4).join(), data.reasons[row[4]]]));
  const names = { target: data.targets.map((t) => t.id), sampler: data.samplers, schedule: data.schedules, rung: data.rungs };
  const keyOf = (c, sampler) => [c.target, sampler, c.schedule, c.rung].join();
  const all = (list) => list.map((_, index) => index);
  const some = (c) => all(names.sampler).some((sampler) => curves.has(keyOf(c, sampler)));
  const reasonOf = (c) => all(names.sampler).map((sampler) => refused.get(keyOf(c, sampler))).find(Boolean) ?? "not among the rows of the atlas";
  const kept = (name) => names[name].indexOf(address.get(`x.${name}`));

  // The choice as the address has it, mended where it was not computed: rung first, then schedule, each the first that there is.
  function chosen() {
    const told = [];
    for (const name of ["target", "rung", "schedule"]) {
      const wanted = address.get(`x.${name}`);
      if (wanted && kept(name) < 0) told.push(`${wanted}: no such ${name === "target" ? "law" : name}`);
    }
    const c = { target: Math.max(kept("target"), 0) };
    const has = (part) => data.curves.some((curve) => Object.entries(part).every(([name, at]) => curve[{ target: 0, schedule: 2, rung: 3 }[name]] === at));
    for (const name of ["rung", "schedule"]) {
      const wanted = kept(name);
      const fits = all(names[name]).filter((at) => has({ ...c, [name]: at }));
      c[name] = fits.includes(wanted) ? wanted : fits[0] ?? 0;
      if (wanted >= 0 && c[name] !== wanted) told.push(`${names[name][wanted]}: not computed here, ${names[name][c[name]]} is shown`);
    }
    const able = all(names.sampler).filter((sampler) => curves.has(keyOf(c, sampler)));
    const asked = [...new Set(address.get("x.sampler").split(","))];
    const named = asked.map((id) => names.sampler.indexOf(id)).filter((at) => at >= 0);
    const unknown = asked.filter((id) => id && id !== "none" && !names.sampler.includes(id));
    if (unknown.length) told.push(`no such sampler: ${unknown.join(", ")}`);
    const lost = named.filter((at) => !able.includes(at));
    if (lost.length) told.push(`not computed here: ${lost.map((at) => names.sampler[at]).join(", ")}`);
    const drawn = named.filter((at) => able.includes(at));
    c.samplers = drawn.length || named.length || address.get("x.sampler") === "none" ? drawn : able.slice(0, 3);
    const steps = [...new Set(able.flatMap((at) => data.steps[curves.get(keyOf(c, at))[4]]))].sort((a, b) => a - b);
    c.steps = steps;
    const finite = (value, other) => (Number.isFinite(Number(value)) && Number(value)) || other;
    c.from = finite(address.get("x.from"), steps[0]);
    c.to = finite(address.get("x.to"), steps.at(-1));
    c.against = address.get("x.against") === "evaluations" ? "evaluations" : "steps";
    return [c, able, told];
  }

  function options(select, list, value) {
    select.replaceChildren(...list.map((k) => new Option(k, k)));
    select.value = value;
  }

  function controls(c, able, told) {
    fields.target.value = names.target[c.target];
    for (const name of ["rung", "schedule"]) {
      for (const [at, option] of [...fields[name].options].entries()) {
        const other = { ...c, [name]: at };
        const missing = name === "rung" ? all(names.schedule).every((schedule) => !some({ ...other, schedule })) : !some(other);
        option.disabled = missing;
        option.textContent = names[name][at] + (missing ? " (not computed for this law)" : "");
        option.title = missing ? reasonOf(other) : "";
      }
      fields[name].value = names[name][c[name]];
    }
    const near = (value) => c.steps.reduce((best, k) => (Math.abs(k - value) < Math.abs(best - value) ? k : best), c.steps[0]);
    [c.from, c.to] = [near(c.from), near(c.to)];
    if (c.from > c.to) [c.from, c.to] = [c.to, c.from];
    options(fields.from, c.steps, c.from);
    options(fields.to, c.steps, c.to);
    form.querySelector(`[name="against"][value="${c.against}"]`).checked = true;
    for (const [at, box] of boxes.entries()) {
      const can = able.includes(at);
      box.disabled = !can;
      box.checked = c.samplers.includes(at);
      if (can) box.title = box.ariaDescription = "";
    }
    reasons(c, all(names.sampler).filter((at) => !able.includes(at)));
    document.getElementById("fallback").textContent = told.join("; ");
  }

  // Why samplers cannot be chosen, those of one reason together.
  function reasons(c, missing) {
    const told = new Map();
    for (const at of missing) {
      const why = refused.get(keyOf(c, at)) ?? "not among the rows of the atlas";
      told.set(why, [...(told.get(why) ?? []), at]);
    }
    document.getElementById("reasons").replaceChildren(...[...told].map(([why, places]) => {
      const line = document.createElement("li");
      line.textContent = `${places.map((at) => names.sampler[at]).join(", ")}: ${why}`;
      for (const at of places) [boxes[at].title, boxes[at].ariaDescription] = [why, why];
      return line;
    }));
  }

  // The points of one sampler within the range of K, with the slope of the last pair.
  function points(c, sampler) {
    const [, , , , steps, asked, values, errors] = curves.get(keyOf(c, sampler));
    const rows = data.steps[steps].map((k, i) => ({ k, evaluations: data.evaluations[asked][i], value: values[i], error: errors[i] }));
    const shown = rows.filter((row) => row.k >= c.from && row.k <= c.to);
    const drawn = shown.filter((row) => row.value > 0);
    for (const row of drawn) row.x = c.against === "steps" ? row.k : row.evaluations;
    const [a, b] = drawn.slice(-2);
    const slope = b && a.x !== b.x ? Math.log(b.value / a.value) / Math.log(b.x / a.x) : null;
    return { shown, drawn, slope };
  }

  const lettered = (number) => number.toFixed(2).replace("-", "−");
  const looks = (place, palette) => ({ colour: palette[place % palette.length], marker: MARKERS[place % MARKERS.length], dash: DASHES[(place + Math.floor(place / palette.length)) % DASHES.length] });

  function traces(c, palette) {
    return c.samplers.map((sampler, place) => {
      const { drawn, slope } = points(c, sampler);
      const look = looks(place, palette);
      const name = escaped(names.sampler[sampler]) + (slope === null ? "" : `, slope ${lettered(slope)}`);
      const errors = drawn.map((row) => row.error);
      return {
        x: drawn.map((row) => row.x), y: drawn.map((row) => row.value), name, mode: "lines+markers", type: "scatter",
        line: { color: look.colour, dash: look.dash, width: 1.8 }, marker: { color: look.colour, symbol: look.marker, size: 7 },
        error_y: { type: "data", symmetric: false, array: errors, arrayminus: drawn.map((row) => Math.min(row.error, row.value * 0.999)), thickness: 1.1, width: 3, color: look.colour },
        customdata: drawn.map((row) => [row.k, row.evaluations, row.error]),
        hovertemplate: "K %{customdata[0]}, %{customdata[1]} evaluations<br>%{y:.4g} ± %{customdata[2]:.1g} nats<extra>" + escaped(names.sampler[sampler]) + "</extra>",
      };
    });
  }
  // Plotly reads a few tags and %{…} in its texts; names are none of them.
  const escaped = (text) => (text.length > 60 ? text.slice(0, 59) + "…" : text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/%\{/g, "% {");

  function layout(c) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const narrow = chart.clientWidth < 560;
    const axis = { type: "log", gridcolor: colour("--line"), linecolor: colour("--soft"), zeroline: false, ticks: "outside", tickcolor: colour("--soft"), exponentformat: "power", automargin: true, fixedrange: matchMedia("(pointer: coarse)").matches };
    const ks = c.steps.filter((k) => k >= c.from && k <= c.to);
    const ticks = c.against === "steps" && ks.length <= (narrow ? 7 : 14) ? { tickvals: ks, ticktext: ks.map(String) } : { dtick: "D2" };
    const values = c.samplers.flatMap((sampler) => points(c, sampler).drawn.map((row) => row.value));
    const decades = values.length ? Math.log10(Math.max(...values) / Math.min(...values)) : 1;
    const steep = decades > 1.3 ? { dtick: Math.ceil(decades / 8) } : { dtick: "D2" };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--text") },
      margin: { l: 64, r: 16, t: 16, b: 48 }, hovermode: "closest", dragmode: axis.fixedrange ? false : "zoom",
      xaxis: { ...axis, ...ticks, title: { text: c.against === "steps" ? "steps K" : "denoiser evaluations" } },
      yaxis: { ...axis, ...steep, title: { text: escaped(names.rung[c.rung].replace(/( .*)?$/, " KL$1, nats")) } },
      legend: { orientation: "h", y: -0.2, yanchor: "top", x: 0 }, showlegend: true,
      hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    };
  }

  function numbers(c) {
    const body = document.querySelector("#numbers tbody");
    body.replaceChildren(...c.samplers.flatMap((sampler) => points(c, sampler).shown.map((row) => {
      const line = document.createElement("tr");
      for (const [at, value] of [names.sampler[sampler], row.k, row.evaluations, row.value.toExponential(4), row.error.toExponential(1)].entries()) {
        const cell = line.insertCell();
        cell.textContent = value;
        if (at) cell.className = "number";
      }
      return line;
    })));
  }

  // The plotting library is unpacked when the explorer first comes near.
  let library = null;
  const unpacked = async () => {
    if (typeof DecompressionStream === "undefined") throw new Error("this browser cannot unpack the plotting library; the numbers are below");
    const packed = Uint8Array.from(atob(document.getElementById("plotting").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    return globalThis.Plotly;
  };
  let near = false;
  async function draw() {
    const [c, able, told] = chosen();
    controls(c, able, told);
    numbers(c);
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    const palette = colours(dark);
    boxes.forEach((box, at) => box.parentElement.style.setProperty("--key", box.checked ? looks(c.samplers.indexOf(at), palette).colour : "transparent"));
    if (!near) return;
    try {
      const Plotly = await (library ??= unpacked());
      await Plotly.react(chart, traces(c, palette), layout(c), { displayModeBar: false, responsive: true });
      chart.dataset.drawn = c.samplers.map((sampler) => names.sampler[sampler]).join();
    } catch (error) {
      document.getElementById("fallback").textContent = error.message;
      document.getElementById("numbers").open = true;
    }
  }

  form.addEventListener("change", (event) => {
    const name = event.target.name;
    const before = chosen()[0].samplers.map((at) => names.sampler[at]);  // a sampler keeps its look while others come and go
    const checked = boxes.filter((box) => box.checked).map((box) => box.value);
    const samplers = [...before.filter((id) => checked.includes(id)), ...checked.filter((id) => !before.includes(id))].join(",") || "none";
    address.set({ [`x.${name}`]: name === "sampler" ? samplers : event.target.value });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("recoloured", draw);
  address.listen(draw);
  new IntersectionObserver((seen, watcher) => {
    if (!seen.some((entry) => entry.isIntersecting)) return;
    watcher.disconnect();
    near = true;
    draw();
  }, { rootMargin: "600px" }).observe(chart);
  draw();
  address.show();
})();
