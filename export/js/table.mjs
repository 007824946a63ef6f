// Rows of a table as people save them -> the inputs of a model that was trained on such a table: table.py in JavaScript, number
// for number. Imports nothing but the error.

import { KitError } from "./classifier.mjs";

const SEPARATORS = [",", ";", "\t", "|", " "];
const PLAIN = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$/;
const DATE =
  /^(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})(?:[T ](\d{2}):(\d{2})(?::(\d{2}(?:\.\d{1,9})?))?(?:Z|([-+])(\d{2}):?(\d{2}))?)?$/;
const SHOWN = 4;
const WRITTEN = { YMD: "year-month-day", DMY: "day.month.year", MDY: "month/day/year" };

/** The record in a model's metadata (or in device.json), null without one. */
export function tableOf(metadata, device = null) {
  const stored = metadata.table ?? (device?.table ? JSON.stringify(device.table) : null);
  if (stored === null) return null;
  try {
    const record = JSON.parse(stored);
    if (record.version !== 1 || !record.columns.length) throw new Error("it is of another version of edgepriv");
    return record;
  } catch (error) {
    throw new KitError(`how the model reads a table is not to be read (${error.message}): copy the model and the kit again`);
  }
}

/** The number in a cell, null where there is none. */
export function numberOf(cell, decimal = ".", thousands = "") {
  if (thousands) {
    const [mark, point] = [thousands, decimal].map((sign) => sign.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const grouped = new RegExp(`^[-+]?[1-9]\\d{0,2}(?:${mark}\\d{3})+(?:${point}\\d+)?$`);
    if (grouped.test(cell)) cell = cell.replaceAll(thousands, "");
  }
  if (decimal === ",") {
    if (cell.includes(".")) return null;
    cell = cell.replaceAll(",", ".");
  }
  return PLAIN.test(cell) && Number.isFinite(Number(cell)) ? Number(cell) : null; // not 1e999
}

/** Days since 1970-01-01 of a date, with or without a time (in UTC, if it says so); null where it is none in this order. */
export function dateOf(cell, order) {
  const match = DATE.exec(cell);
  if (match === null) return null;
  const part = (letter) => match[[1, 3, 4][order.indexOf(letter)]];
  const [year, month, day] = [part("Y"), part("M"), part("D")];
  const [hour, minute, second] = [5, 6, 7].map((group) => Number(match[group] ?? 0));
  const away = (60 * Number(match[9] ?? 0) + Number(match[10] ?? 0)) * (match[8] === "-" ? -1 : 1);
  if (year.length !== 4 || Math.max(month.length, day.length) > 2 || hour > 23 || minute > 59 || second >= 60) return null;
  const midnight = new Date(0);
  midnight.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  if (Number(year) < 1 || midnight.getUTCMonth() !== Number(month) - 1 || midnight.getUTCDate() !== Number(day)) return null;
  return midnight.getTime() / 86400000 + (hour * 3600 + (minute - away) * 60 + second) / 86400;
}

function valueOf(record, column, cell) {
  if (column.kind === "date") return dateOf(cell, column.order);
  if (column.kind !== "boolean") return numberOf(cell, record.decimal, record.thousands);
  const place = column.words.indexOf(cell.toLowerCase());
  if (place >= 0) return place;
  const number = column.words[0] === "0" && column.words[1] === "1" ? numberOf(cell) : null;
  return number === 0 || number === 1 ? number : null;
}

const slots = (column) =>
  column.kind === "category"
    ? column.categories.length + (column.missing ? 1 : 0) + (column.other ? 1 : 0)
    : 1 + (column.missing ? 1 : 0);

/** How many inputs the model takes. */
export const widthOf = (record) => record.columns.reduce((sum, column) => sum + slots(column), 0);

function what(column) {
  if (column.kind === "date") return `date (${WRITTEN[column.order]})`;
  return column.kind === "boolean" ? column.words.join(" or ") : "number";
}

/** The cells of a CSV text: [[line, cells], ...] without empty rows. Quoted cells may hold separators and line ends. */
function parsed(text, mark) {
  const rows = [];
  let [row, cell, quoted, began, line] = [[], "", false, false, 1];
  const endCell = () => {
    row.push(cell.trim());
    [cell, began] = ["", false];
  };
  const endRow = () => {
    endCell();
    if (row.some((one) => one !== "")) rows.push([line, row]);
    row = [];
  };
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (quoted) {
      if (sign === '"' && text[at + 1] === '"') cell += text[at++];
      else if (sign === '"') quoted = false;
      else cell += sign;
      if (sign === "\n") line++;
    } else if (sign === '"' && !began) [quoted, began] = [true, true];
    else if (sign === mark) endCell();
    else if (sign === "\n" || sign === "\r") {
      if (sign === "\r" && text[at + 1] === "\n") at++;
      endRow();
      line++;
    } else if (sign !== " " || began) [cell, began] = [cell + sign, true];
  }
  if (cell !== "" || row.length) endRow();
  return rows;
}

/** The text of a file's bytes: UTF-8, UTF-16 with its mark, else Windows-1252. */
export function textOf(bytes) {
  const utf16 = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : null;
  try {
    return new TextDecoder(utf16 ?? "utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** The cells of the record's columns, row by row, and the line of each row. */
export function readRows(text, record) {
  text = text.normalize("NFC");
  const declared = /^sep=[^\w\r\n]\r?\n/i.exec(text);
  if (declared) text = `\n${text.slice(declared[0].length)}`;
  const tried = (declared ? [declared[0][4]] : SEPARATORS).map((mark) => [mark, parsed(text.slice(0, 1e6), mark)[0]?.[1] ?? []]);
  const wanted = record.columns.map((column) => column.name);
  let mark;
  let places;
  let count;
  if (record.titled) {
    const found = (titles) => wanted.filter((name) => titles.includes(name)).length;
    const best = Math.max(...tried.map(([, titles]) => found(titles)));
    const [chosen, titles] = tried.find(([, titles]) => found(titles) === best);
    const absent = wanted.filter((name) => !titles.includes(name));
    if (absent.length) {
      const more = absent.length > SHOWN ? ` and ${absent.length - SHOWN} more` : "";
      const shown = absent.slice(0, SHOWN).map((name) => `'${name}'`).join(", ");
      throw new KitError(
        `the first line has no column ${shown}${more}: it must name the columns as the table that the model was trained on`,
      );
    }
    const twice = wanted.find((name) => titles.filter((title) => title === name).length > 1);
    if (twice !== undefined) throw new KitError(`several columns are called '${twice}'`);
    [mark, places, count] = [chosen, wanted.map((name) => titles.indexOf(name)), titles.length];
  } else {
    const gap = ([, cells]) => Math.abs(record.width - cells.length);
    const best = Math.min(...tried.map(gap));
    const [chosen, cells] = tried.find((one) => gap(one) === best);
    [mark, count] = [chosen, cells.length];
    if (count !== record.width && count !== record.width - 1) {
      throw new KitError(`rows have ${count} cells, but the table that the model was trained on had ${record.width}`);
    }
    const shift = count < record.width ? record.label_place : record.width;
    places = record.columns.map(({ place }) => place - (place > shift ? 1 : 0));
  }
  const rows = [];
  const lines = [];
  for (const [line, cells] of parsed(text, mark).slice(record.titled ? 1 : 0)) {
    if (cells.length !== count && !(cells.length === count + 1 && cells[count] === "")) {
      throw new KitError(`line ${line} has ${cells.length} cells, the first ${count}`);
    }
    rows.push(places.map((place) => cells[place]));
    lines.push(line);
  }
  return { rows, lines };
}

/** The model's inputs of `rows`: {values: Float32Array, shape: [n, F], notes: [sentences]}. */
export function encoded(record, { rows, lines }) {
  const width = widthOf(record);
  const values = new Float32Array(rows.length * width);
  const counted = new Map();
  const note = (column, about) => {
    const key = `column '${column.name}': ${about}`;
    counted.set(key, (counted.get(key) ?? 0) + 1);
  };
  const other = (column) => (column.other ? "count as 'other'" : "set none of the column's inputs");
  rows.forEach((row, index) => {
    let at = index * width;
    record.columns.forEach((column, place) => {
      const cell = row[place];
      const missing = record.missing.includes(cell.toLowerCase());
      const size = slots(column);
      if (column.kind === "category") {
        const known = missing ? -1 : column.categories.indexOf(cell);
        if (known >= 0) values[at + known] = 1;
        else if (missing && column.missing) values[at + column.categories.length] = 1;
        else if (column.other) values[at + size - 1] = 1;
        if (known < 0 && !(missing && column.missing)) note(column, `${missing ? "cells without a value" : `'${cell}'`} ${other(column)}`);
      } else {
        const span = column.high - column.low;
        if (missing) {
          values[at] = (column.fill - column.low) / span;
          if (column.missing) values[at + 1] = 1;
          else note(column, "cells without a value count as the members' mean");
        } else {
          const value = valueOf(record, column, cell);
          if (value === null) {
            throw new KitError(`line ${lines[index]}, column '${column.name}' holds '${cell}', which is no ${what(column)}`);
          }
          values[at] = Math.min(Math.max((value - column.low) / span, 0), 1);
          if (!(column.low <= value && value <= column.low + span)) {
            const ends = column.kind === "date" ? "those of the members" : `${column.low} to ${column.high}`;
            note(column, `values beyond ${ends} count as the nearest of these`);
          }
        }
      }
      at += size;
    });
  });
  const notes = [...counted].map(([about, count]) => `${about} (${count} of ${rows.length} rows)`);
  return { values, shape: [rows.length, width], notes };
}
