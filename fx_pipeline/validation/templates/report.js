(async () => {
  const places = [...document.querySelectorAll(".chart")];
  try {
    const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    const charts = JSON.parse(document.getElementById("charts").textContent);
    const phone = matchMedia("(max-width: 600px)");
    for (const place of places) {
      const { data, layout } = charts[place.id];
      if (phone.matches) layout.height = Math.round(layout.height * 0.85);
      await Plotly.newPlot(place, data, layout, { responsive: true, displayModeBar: false, scrollZoom: false });
    }
    addEventListener("beforeprint", () => places.forEach((p) => Plotly.relayout(p, { width: 680, autosize: false })));
    addEventListener("afterprint", () => places.forEach((p) => Plotly.relayout(p, { width: null, autosize: true })));
    document.documentElement.dataset.charts = "ready";
  } catch (error) {
    places.forEach((p) => (p.textContent = "This browser cannot draw the charts (" + error.message + "); the tables are complete."));
  }
})();
