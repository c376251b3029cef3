views.curves = (host, curves) =>
  new uPlot({
    width: 560, height: 320, scales: { x: { time: false } },
    axes: [{ stroke: colors.ink }, { stroke: colors.ink }],
    series: [{}, ...curves.map(({ name }) => ({ label: name, stroke: "steelblue" }))],
  }, [curves[0].x, ...curves.map(({ y }) => y)], host);
