/* Shared by the reports: elements from data, never from markup, so that no label or path can become HTML. */

const data = JSON.parse(document.getElementById("data").textContent);

/** An element with properties, attributes (names with a dash, and role, for, viewBox ...) and children. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An SVG element with attributes and children. */
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function percent(share, decimals = 1) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(decimals)} %`;
}

function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Control characters and lone surrogates as they would be escaped, so that they can be seen. */
function printable(text) {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/gu,
    (character) => {
      const code = character.codePointAt(0);
      return code >= 0xdc80 && code <= 0xdcff
        ? `\\x${(code - 0xdc00).toString(16)}`
        : `\\u${code.toString(16).padStart(4, "0")}`;
    },
  );
}

/** A picture that loads when it comes near, and says so where a browser cannot show it. */
function picture(source, alt) {
  if (!source) return make("span", { className: "no-picture" }, "cannot be shown");
  const image = make("img", { loading: "lazy", decoding: "async", alt });
  image.addEventListener("error", () => {
    image.replaceWith(make("span", { className: "no-picture" }, "not found"));
  });
  image.src = source;
  return image;
}
