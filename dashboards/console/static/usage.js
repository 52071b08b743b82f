// The usage curve: draws the columns that the page brings along, says what is under the pointer, and saves a picture.
"use strict";

(() => {
  const place = document.getElementById("curve");
  const columns = () => JSON.parse(document.getElementById("curve-columns").textContent);
  if (!place || !document.getElementById("curve-columns") || !window.uPlot) return;

  let told = columns();
  const point = document.getElementById("curve-point");
  const language = place.dataset.language;
  const zone = "Asia/Shanghai";
  const shapes = {
    hour: { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    day: { month: "short", day: "numeric", weekday: "short" },
    month: { year: "numeric", month: "short" },
  };
  const marks = {
    hour: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    day: { month: "numeric", day: "numeric" },
    month: { year: "2-digit", month: "numeric" },
  };
  const moment = new Intl.DateTimeFormat(language, { timeZone: zone, ...shapes[told.period] });
  const mark = new Intl.DateTimeFormat(language, { timeZone: zone, ...marks[told.period] });
  const midnight = new Intl.DateTimeFormat(language, { timeZone: zone, ...marks.day });
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const names = Object.fromEntries(
    [...document.querySelectorAll(".legend [data-series]")].map((one) => [one.dataset.series, one.textContent.trim()]),
  );

  // What goes on, such as today, is a point beside the line: it would look like a fall.
  function series() {
    const last = told.calls.findLastIndex((one) => one !== null);
    const goesOn = !told.whole && last > 0 && told.expected[last] !== null;
    const line = told.calls.map((one, n) => (goesOn && n === last ? null : one));
    const soFar = told.calls.map((one, n) => (goesOn && n === last ? one : null));
    return [told.begins, line, told.before, told.expected, soFar];
  }

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function label(seconds) {
    const at = new Date(seconds * 1000);
    const isMidnight = (seconds + 8 * 3600) % 86400 === 0;
    return (told.period === "hour" && isMidnight ? midnight : mark).format(at);
  }

  function describe(plot) {
    const at = plot.cursor.idx;
    if (at === null || at === undefined) {
      point.textContent = "";
      return;
    }
    const values = ["calls", "before", "expected"]
      .map((name) => [names[name], told[name][at]])
      .filter(([name, value]) => name && value !== null && value !== undefined)
      .map(([name, value]) => `${name} ${number.format(value)}`);
    point.textContent = `${moment.format(new Date(told.begins[at] * 1000))}: ${values.join(" · ")}`;
  }

  // Ticks at whole points, as many as have room: uPlot's own are in UTC.
  function splits(plot) {
    const all = told.begins.filter((at) => at >= plot.scales.x.min && at <= plot.scales.x.max);
    const room = Math.max(2, Math.floor(plot.bbox.width / devicePixelRatio / 72));
    const steps = told.period === "hour" ? [1, 3, 6, 12, 24, 48] : told.period === "day" ? [1, 7, 14, 28] : [1, 2, 3, 6];
    const step = steps.find((one) => all.length / one <= room) || steps[steps.length - 1];
    return all.filter((_, n) => n % step === 0);
  }

  let plot = null;

  function draw() {
    if (plot) plot.destroy();
    const dots = { show: told.begins.length <= 32, size: 4 };
    const line = (name, stroke, more) => ({ label: name, stroke: colour(stroke), width: 2, points: { show: false }, ...more });
    const axis = { stroke: colour("--muted"), font: `12px ${getComputedStyle(document.body).fontFamily}`, ticks: { show: false } };
    plot = new uPlot(
      {
        width: place.clientWidth,
        height: place.clientHeight,
        padding: [8, 20, 0, 0],
        cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false } },
        legend: { show: false },
        scales: { x: { time: false }, y: { range: (_, __, highest) => [0, Math.max(4, highest * 1.08)] } },
        axes: [
          { ...axis, size: 28, grid: { show: false }, splits, values: (_, at) => at.map(label) },
          {
            ...axis,
            size: 48,
            grid: { stroke: colour("--line"), width: 1 },
            incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6],
            values: (_, at) => at.map((one) => number.format(one)),
          },
        ],
        series: [
          {},
          line("calls", "--green", { points: { ...dots, fill: colour("--surface") } }),
          line("before", "--before", { width: 1.5, dash: [4, 4] }),
          line("expected", "--amber", { dash: [2, 5] }),
          line("so far", "--green", { width: 0, points: { show: true, size: 7, width: 2, fill: colour("--surface") } }),
        ],
        hooks: { setCursor: [describe] },
      },
      series(),
      place,
    );
  }

  // The ledger moves on while the page is open: what was zoomed into stays in view.
  document.addEventListener("live", () => {
    const before = told;
    told = columns();
    if (JSON.stringify(told) === JSON.stringify(before)) return;
    const [first, last] = [before.begins[0], before.begins[before.begins.length - 1]];
    const isZoomed = plot.scales.x.min > first || plot.scales.x.max < last;
    plot.setData(series(), !isZoomed);
    if (isZoomed) plot.redraw();
  });

  // The picture has what the page says around the curve: of which app, in which time.
  function picture() {
    const drawn = plot.ctx.canvas;
    const scale = devicePixelRatio;
    const [edge, head] = [16 * scale, 56 * scale];
    const whole = document.createElement("canvas");
    whole.width = drawn.width + 2 * edge;
    whole.height = drawn.height + head + edge;
    const ink = whole.getContext("2d");
    ink.fillStyle = colour("--surface");
    ink.fillRect(0, 0, whole.width, whole.height);
    const font = getComputedStyle(document.body).fontFamily;
    ink.textBaseline = "top";
    ink.fillStyle = colour("--text");
    ink.font = `600 ${15 * scale}px ${font}`;
    ink.fillText(place.dataset.title, edge, 14 * scale);
    ink.font = `${12 * scale}px ${font}`;
    let x = edge;
    const inks = { calls: "--green", before: "--before", expected: "--amber" };
    Object.entries(names).forEach(([series, name]) => {
      ink.fillStyle = colour(inks[series]);
      ink.fillRect(x, 44 * scale, 14 * scale, 2 * scale);
      ink.fillStyle = colour("--muted");
      ink.fillText(name, x + 20 * scale, 38 * scale);
      x += ink.measureText(name).width + 40 * scale;
    });
    ink.drawImage(drawn, edge, head);
    return whole;
  }

  const save = document.getElementById("curve-picture");
  if (save) {
    save.hidden = false;
    save.addEventListener("click", () => {
      picture().toBlob((blob) => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(blob);
        link.download = place.dataset.file;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      }, "image/png");
    });
  }

  draw();
  let waiting = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => plot.setSize({ width: place.clientWidth, height: place.clientHeight }));
  }).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
