// Says what Grafana makes of panels and frames, with Grafana's own @grafana/data: for each line of JSON on the
// standard input one on the standard output. tools/pictures/grafana_data.py asks.
"use strict";

const readline = require("node:readline");

// What libraries have to say must not get between the answers.
console.log = console.info = console.warn = console.error;
// Before there is a window: with one it wants a document as well.
require("react-use");
globalThis.window = { addEventListener() {} };
const {
  applyFieldOverrides,
  createTheme,
  dataFrameFromJSON,
  FieldConfigOptionsRegistry,
  fieldMatchers,
  formattedValueToString,
  getDisplayProcessor,
  getFieldDisplayName,
  getFieldDisplayValues,
  getFieldDisplayValuesProxy,
  getFieldSeriesColor,
} = require("@grafana/data");

const theme = createTheme({ colors: { mode: "light" } });
const timeZone = "Asia/Shanghai";

// The options that Grafana registers as it starts, from code that is in no package; these are for numbers alone.
const FOR_NUMBERS = ["decimals", "min", "max", "fieldMinMax"];
const FOR_ALL = ["unit", "displayName", "noValue", "color", "mappings", "thresholds", "links", "filterable"];

// What a panel's plugin has as its color mode, where the panel says nothing.
const COLOR_MODES = { timeseries: "palette-classic", barchart: "palette-classic" };

function option(id, shouldApply, isCustom = false) {
  const path = isCustom ? id.replace("custom.", "") : id;
  return { id, path, name: id, isCustom, shouldApply, process: (value) => value, getItemsCount: () => 0 };
}

function registry({ defaults, overrides }) {
  const found = new FieldConfigOptionsRegistry();
  FOR_NUMBERS.forEach((id) => found.register(option(id, (field) => field.type === "number")));
  FOR_ALL.forEach((id) => found.register(option(id, () => true)));
  const custom = overrides.flatMap(({ properties }) => properties.map(({ id }) => id)).filter((id) => /^custom\./.test(id));
  const ids = new Set([...custom, ...Object.keys(defaults.custom ?? {}).map((name) => `custom.${name}`)]);
  ids.forEach((id) => found.register(option(id, () => true, true)));
  return found;
}

// A panel's field options as Grafana has them once the page is loaded: JSON has no way to write the lowest step.
function loaded(panel) {
  const config = structuredClone(panel.fieldConfig);
  const thresholds = config.overrides.flatMap(({ properties }) => properties).filter(({ id }) => id === "thresholds");
  for (const found of [config.defaults.thresholds, ...thresholds.map(({ value }) => value)]) {
    found?.steps.forEach((step) => (step.value ??= -Infinity));
  }
  config.defaults.color ??= { mode: COLOR_MODES[panel.type] ?? "thresholds" };
  return config;
}

// Grafana's variables in the addresses of links, as far as the pages use them.
function replaceVariables(text, variables) {
  return (text ?? "").replace(/\$\{__data\.fields\.(\w+)\}/g, (_, name) => {
    const { frame, rowIndex } = variables.__dataContext.value;
    return String(getFieldDisplayValuesProxy({ frame, rowIndex, timeZone })[name]);
  });
}

function described(field, frame, frames) {
  const shown = field.values.map((value) => field.display(value));
  return {
    name: field.name,
    title: getFieldDisplayName(field, frame, frames),
    type: field.type,
    unit: field.config.unit ?? "",
    color: theme.visualization.getColorByName(getFieldSeriesColor(field, theme).color),
    custom: field.config.custom ?? {},
    values: field.values,
    texts: shown.map(formattedValueToString),
    colors: shown.map(({ color }) => color),
    links: field.config.links?.length
      ? field.values.map((_, row) => field.getLinks({ valueRowIndex: row }).map(({ href }) => href))
      : [],
  };
}

// What the overrides name that is not in the frames.
function unmatched({ overrides }, data) {
  return overrides
    .filter(({ matcher }) => {
      const matches = fieldMatchers.get(matcher.id).get(matcher.options);
      return !data.some((frame) => frame.fields.some((field) => matches(field, frame, data)));
    })
    .map(({ matcher }) => matcher.options);
}

function shown({ panel, frames }) {
  const fieldConfig = loaded(panel);
  const given = frames.map(dataFrameFromJSON);
  const data = applyFieldOverrides({
    data: given,
    fieldConfig,
    fieldConfigRegistry: registry(fieldConfig),
    replaceVariables,
    theme,
    timeZone,
  });
  const reduceOptions = panel.options.reduceOptions;
  const values = reduceOptions
    ? getFieldDisplayValues({ data, fieldConfig, reduceOptions, replaceVariables, theme, timeZone })
    : [];
  return {
    frames: data.map((frame) => ({
      name: frame.name ?? "",
      fields: frame.fields.map((field) => described(field, frame, data)),
    })),
    unmatched: unmatched(fieldConfig, given),
    values: values.map(({ display }) => ({
      title: display.title ?? "",
      text: formattedValueToString(display),
      color: theme.visualization.getColorByName(display.color),
    })),
  };
}

// Numbers at an axis, with as many places as tell them from each other.
function ticks({ defaults: { unit, decimals }, values }) {
  const step = values[1] - values[0];
  const places = [0, 1, 2, 3, 4, 5, 6].find((n) => Math.abs(step - step.toFixed(n)) < step / 1_000);
  const display = getDisplayProcessor({ field: { type: "number", config: { unit, decimals } }, theme, timeZone });
  return values.map((value) => formattedValueToString(display(value, places)));
}

const color = ({ name }) => theme.visualization.getColorByName(name);

const ANSWERS = { shown, ticks, color };

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { ask, ...question } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(ANSWERS[ask](question))}\n`);
});
