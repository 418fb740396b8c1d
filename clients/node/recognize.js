// Names the class of PNG pictures by a file of `cvgssl export`: recognize.js FILE.onnx PICTURE...
//
// Prints path, class, probability and verdict (known, unknown or not sure; none by trained
// runs), with tabs between.
// Needs onnxruntime-node and pngjs; `npm install` in this folder brings both.

const fs = require("fs");
const ort = require("onnxruntime-node");
const { PNG } = require("pngjs");

/** Ends the program with one line. */
function stop(message) {
  console.error(message);
  process.exit(1);
}

/** The file's metadata by name: field 14 of an ONNX model, which onnxruntime-node does not show. */
function metadata(model) {
  const about = {};
  for (const [field, entry] of fields(model)) {
    if (field !== 14) continue;
    const [key, value] = fields(entry).map(([, text]) => text.toString("utf8"));
    about[key] = JSON.parse(value);
  }
  return about;
}

/** Numbers and contents of a protobuf message's fields that have a length. */
function fields(message) {
  const found = [];
  let place = 0;
  const varint = () => {
    let value = 0, scale = 1, byte;
    do {
      byte = message[place++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte & 128);
    return value;
  };
  while (place < message.length) {
    const tag = varint();
    const kind = tag & 7;
    if (kind === 0) varint();
    else if (kind === 2) {
      const length = varint();
      found.push([tag >>> 3, message.subarray(place, (place += length))]);
    } else throw new Error("not an ONNX file");
  }
  return found;
}

/** The parts of a PNG that hold its pixels; what is transparent in it counts as solid. */
function pixelChunks(path, bytes) {
  const kept = [bytes.subarray(0, 8)];
  for (let place = 8; place + 12 <= bytes.length; ) {
    const end = place + 12 + bytes.readUInt32BE(place);
    const name = bytes.toString("latin1", place + 4, place + 8);
    if (name === "eXIf") stop(`${path}: may be turned by its EXIF; save it without`);
    if (["IHDR", "PLTE", "IDAT", "IEND"].includes(name)) kept.push(bytes.subarray(place, end));
    place = end;
  }
  return Buffer.concat(kept);
}

/** Samples Uint16 [height, width, 3] of a PNG, and its white level. */
function read(path) {
  const bytes = fs.readFileSync(path);
  if (bytes.toString("latin1", 1, 4) !== "PNG") stop(`${path}: not a PNG, all that this reads`);
  const deep = bytes[24] === 16; // bits of a sample
  const { width, height, data } = PNG.sync.read(pixelChunks(path, bytes), { skipRescale: deep });
  const samples = new Uint16Array(width * height * 3);
  let largest = 0;
  for (let place = 0; place < samples.length; place++) {
    const sample = data[Math.floor(place / 3) * 4 + (place % 3)]; // the fourth is transparency
    samples[place] = sample;
    if (sample > largest) largest = sample;
  }
  return { samples, shape: [height, width, 3], white: deep ? 65535 : 255, largest };
}

async function main(file, paths) {
  const model = fs.readFileSync(file);
  const about = metadata(model); // before ONNX Runtime sees it, which prints more than a line
  if (about.format !== 2) {
    stop(`${file}: not a file of \`cvgssl export\` that this program knows`);
  }
  const session = await ort.InferenceSession.create(model, { logSeverityLevel: 3 });
  for (const path of paths) {
    const picture = (() => {
      try {
        return read(path);
      } catch (error) {
        return stop(`${path}: ${error.message ?? error}`);
      }
    })();
    if (picture.largest > Math.min(picture.white, 2 ** about.bit_depth - 1)) {
      stop(`${path}: has samples over ${about.bit_depth} bits`);
    }
    const answer = await session.run({
      picture: new ort.Tensor("uint16", picture.samples, picture.shape),
      white: new ort.Tensor("uint16", Uint16Array.of(picture.white), []),
    });
    const probabilities = answer.probabilities.data;
    const best = probabilities.indexOf(Math.max(...probabilities));
    let verdict = "";
    if (answer.score) {
      verdict = probabilities[best] >= about.not_sure_below ? "known" : "not sure";
      if (!(answer.score.data[0] >= about.unknown_below)) verdict = "unknown";
    }
    console.log([path, about.classes[best], probabilities[best].toFixed(6), verdict].join("\t"));
  }
}

const [file, ...paths] = process.argv.slice(2);
if (paths.length === 0) stop("recognize.js FILE.onnx PICTURE...");
main(file, paths).catch((error) => stop(`${file}: ${error.message ?? error}`));
