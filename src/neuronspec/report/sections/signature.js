// What numbers of another run must agree in.

registerSection("signature", showSignature);

function showSignature() {
  const read = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value ?? "–"));
  find("signature-list").append(
    ...Object.entries(data.signature).flatMap(([key, value]) => [
      make("dt", { dir: "auto" }, key),
      make("dd", { dir: "auto" }, read(value)),
    ]),
  );
}
