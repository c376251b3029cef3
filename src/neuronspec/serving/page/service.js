"use strict";
// The service: what it is asked, and errors as sentences. All scripts of the page share one scope.

// Only in this variable, so that it is forgotten with the page
let key = "";

class ServiceError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, body) {
  const headers = { Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;

  let response;
  try {
    const options = { headers, cache: "no-store", credentials: "same-origin", redirect: "error" };
    response = await fetch(path, body ? { ...options, method: "POST", body: JSON.stringify(body) } : options);
  } catch {
    throw new ServiceError("The service does not answer: it was stopped, or the connection is down. Try again.", 0);
  }

  const found = await response.json().catch(() => null);
  if (!response.ok) throw new ServiceError(describeRefusal(response.status, found), response.status);
  if (found === null) throw new ServiceError("The service answered with something other than JSON.", response.status);
  return found;
}

// A service says itself what was wrong; a proxy in front of it may answer with a page of its own.
function describeRefusal(status, found) {
  if (typeof found?.error === "string" && found.error) return makeSentence(found.error);
  const said = {
    401: "The service wants an API key.",
    403: "The service does not accept this API key.",
    413: "The text is too long for the service.",
    429: "Too many requests: wait a moment, then try again.",
    502: "The service behind the proxy does not answer. Try again in a moment.",
    503: "The service is busy or stopping. Try again in a moment.",
    504: "The service took too long to answer. Try again with a shorter text.",
  };
  return said[status] ?? `The service answered with status ${status}.`;
}

function makeSentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/u.test(capital) ? capital : `${capital}.`;
}
