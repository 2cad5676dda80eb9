"use strict";
// Unpacks plotly.js, which stands in the page compressed, and draws every figure in the colours of the theme.
(async () => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const byFinger = matchMedia("(pointer: coarse)").matches;

  const unpack = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };

  const between = (scale, place) => {
    const at = place * (scale.length - 1);
    const first = Math.min(Math.floor(at), scale.length - 2);
    const channel = (i) => {
      const [low, high] = [scale[first], scale[first + 1]].map((c) => parseInt(c.slice(1 + 2 * i, 3 + 2 * i), 16));
      return Math.round(low + (at - first) * (high - low));
    };
    return `rgb(${channel(0)},${channel(1)},${channel(2)})`;
  };

  // "@ink" and the like become colours of the theme, wherever they stand.
  const coloured = (value, theme) => {
    if (Array.isArray(value)) return value.map((part) => coloured(part, theme));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part, theme)]));
    }
    if (typeof value !== "string" || !value.startsWith("@")) return value;
    const [name, place] = value.slice(1).split(":");
    if (!(name in theme)) return value;
    if (place !== undefined) return between(theme[name], Number(place));
    const found = theme[name];
    return Array.isArray(found) ? found.map((colour, i) => [i / (found.length - 1), colour]) : found;
  };

  const merged = (base, more) => {
    const both = { ...base };
    for (const [key, value] of Object.entries(more)) {
      const isObject = value && typeof value === "object" && !Array.isArray(value);
      both[key] = isObject && base[key] ? merged(base[key], value) : value;
    }
    return both;
  };

  const draw = async (themeName, widths) => {
    const theme = themes[themeName];
    for (const { key, data, layout, height, half } of figures) {
      const drawn = merged(template, layout);
      Object.assign(drawn, { height, dragmode: byFinger ? false : "zoom", autosize: !widths });
      if (widths) drawn.width = half ? widths.half : widths.whole;
      const config = { responsive: true, displayModeBar: false, doubleClick: "reset" };
      await Plotly.react(`figure-${key}`, coloured(data, theme), coloured(drawn, theme), config);
    }
  };
  const drawOnScreen = () => draw(dark.matches ? "dark" : "light");

  const [themes, template, figures] = ["themes", "template", "figures"].map(read);
  try {
    await unpack();
    await drawOnScreen();
    document.documentElement.dataset.drawn = "yes";
  } catch (error) {
    document.documentElement.dataset.drawn = "no";
    throw error;
  }
  dark.addEventListener("change", drawOnScreen);
  addEventListener("beforeprint", () => draw("light", { whole: 680, half: 324 }));
  addEventListener("afterprint", drawOnScreen);
})();
