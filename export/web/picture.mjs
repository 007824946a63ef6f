// The drawing on the page -> the bytes that a model takes, averaged down to its size; and what the model sees, shown.
// Picture files are read by ../js/picture.mjs instead, as training reads them.

/** RGBA pixels of a canvas. */
export const pixelsOf = (canvas) => canvas.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, canvas.width, canvas.height);

/** Light and dark swapped, of bytes or of numbers in [0, 1]; an alpha channel, the fourth one, stays. */
export function inverted(values, { channels, last }) {
  const white = values instanceof Uint8Array ? 255 : 1;
  const channelOf = (at) => (last ? at % channels : Math.floor(at / (values.length / channels)));
  return values.map((value, at) => (channelOf(at) === 3 ? value : white - value));
}

/**
 * One example of bytes from RGBA pixels. Every target pixel is the mean of the area that it covers.
 * @returns {Uint8Array} in the order of the layout
 */
export function toBytes({ data, width, height }, layout) {
  const columns = shares(width, layout.width);
  const rows = shares(height, layout.height);
  const { channels } = layout;
  const bytes = new Uint8Array(channels * layout.height * layout.width);
  for (let y = 0; y < layout.height; y++) {
    for (let x = 0; x < layout.width; x++) {
      const mean = [0, 0, 0];
      for (const [row, high] of rows[y]) {
        for (const [column, wide] of columns[x]) {
          const at = 4 * (row * width + column);
          for (let c = 0; c < 3; c++) mean[c] += high * wide * data[at + c];
        }
      }
      const values = channels === 1 ? [0.299 * mean[0] + 0.587 * mean[1] + 0.114 * mean[2]] : [...mean, 255];
      for (let c = 0; c < channels; c++) {
        const at = layout.last ? (y * layout.width + x) * channels + c : (c * layout.height + y) * layout.width + x;
        bytes[at] = Math.round(values[c]);
      }
    }
  }
  return bytes;
}

/** For each of `to` equal parts of `from` pixels: the pixels it covers with their shares, which sum to 1. */
function shares(from, to) {
  return Array.from({ length: to }, (_, part) => {
    const [start, end] = [(part * from) / to, ((part + 1) * from) / to];
    const found = [];
    for (let pixel = Math.floor(start); pixel < end && pixel < from; pixel++) {
      const share = (Math.min(end, pixel + 1) - Math.max(start, pixel)) / (end - start);
      if (share > 1e-9) found.push([pixel, share]);
    }
    return found;
  });
}

/** Show one example, bytes or numbers in [0, 1], on a canvas, pixel by pixel. */
export function show(canvas, values, layout) {
  const bytes = values instanceof Uint8Array ? values : values.map((value) => 255 * value);
  canvas.width = layout.width;
  canvas.height = layout.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(layout.width, layout.height);
  const size = layout.width * layout.height;
  for (let pixel = 0; pixel < size; pixel++) {
    for (let c = 0; c < 3; c++) {
      const channel = Math.min(c, layout.channels - 1);
      image.data[4 * pixel + c] = bytes[layout.last ? pixel * layout.channels + channel : channel * size + pixel];
    }
    image.data[4 * pixel + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Let people draw on a canvas; `brush()` gives {size, colour}, `changed` is called after every stroke. */
export function drawable(canvas, brush, changed) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * canvas.width;
    return [x, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  const line = (from, to) => {
    const { size, colour } = brush();
    context.strokeStyle = colour;
    context.lineWidth = size;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    line(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = place(event);
    line(last, next);
    last = next;
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      if (last) changed();
      last = null;
    });
  }
  const clear = () => {
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
  };
  return { clear, line };
}
