// The start: the directions of the service, and what happens when a text is sent.

const refresh = () => {}; // nothing on this page is drawn in colors of its own
let offer = { tasks: [], base_tasks: [] }; // what the service can do
let asked = 0; // number of the last text that was sent: answers to earlier ones are not shown

async function readOffer() {
  offer = await ask("page/offer");
  const chosen = find("task").value;
  find("task").replaceChildren(...offer.tasks.map((task) => make("option", { value: task }, task)));
  if (offer.tasks.includes(chosen)) find("task").value = chosen;
  if (offer.needs_key) showKey();
}

async function submit() {
  const number = ++asked;
  key = find("key").value;
  showError("");
  find("status").textContent = "Translating …";
  find("form").setAttribute("aria-busy", "true");

  try {
    if (!offer.tasks.length) await readOffer();
    const [task, text] = [find("task").value, find("text").value];
    const isLast = () => number === asked;
    await translate(task, text, isLast);
    if (isLast()) await explain(task, text, isLast);
  } catch (error) {
    if (number === asked) showError(error.message, error.status);
  }

  if (number !== asked) return;
  find("status").textContent = "";
  find("form").removeAttribute("aria-busy");
}

function showError(text, status) {
  find("error").textContent = text;
  find("error").hidden = !text;
  if (status !== 401) return;
  showKey();
  find("key").focus();
}

function showKey() {
  find("key-field").hidden = false;
  find("key-note").hidden = false;
}

function watchForm() {
  find("form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  find("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("form").requestSubmit();
  });
}

setTheme(theme);
watchTheme();
watchForm();
readOffer().catch((error) => showError(error.message, error.status));
