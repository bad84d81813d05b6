// The page: one session at a time, or the captions of somebody else's with ?watch=ID.
import { Speaker, base64Pcm16, openDevice, openRecording } from "/page/audio.js";
import { Captions } from "/page/captions.js";

const $ = (id) => document.getElementById(id);
const source = new Captions($("source"));
const target = new Captions($("target"));
const watched = new URLSearchParams(location.search).get("watch");
const MOST_UNSENT = 1 << 19; // bytes; above, the connection is too slow for the audio
const MOST_KEPT = 600; // messages, of 100 ms or more
const METHODS = { ctc: "CTC", decoder: "text decoder" };
const RETRIES_MS = [500, 1000, 2000, 4000, ...Array(36).fill(8000)]; // five minutes, as long as a session is kept
const FIND_TRIES = 5; // one a second: another replica may have the session that is watched
const FOLLOW_TRIES = 300; // until its client is back at the next server

let info, socket, input, speaker, pings, wakeLock;
let running = false; // from Start to Stop
let moved = null; // the session that goes on at the next server
let kept = []; // messages of the last minute, each with its first sample, to send to that server
let position = 0; // samples so far
let ready = false; // whether the session takes audio
let tries = 0;
let retry; // the timer of the next connection
let following = false; // whether the session that is watched has moved

function show(kind, text) {
  $("status").dataset.kind = kind;
  $("status").textContent = text;
}

function open(path) {
  const key = $("key").value;
  if (!/^[\w!#$%&'*+.^`|~-]*$/.test(key)) throw new Error("a browser cannot send a key with spaces or such signs");
  const protocols = key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"];
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return new WebSocket(`${scheme}://${location.host}${path}`, protocols);
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function take(samples) {
  if (!ready && !moved) return; // shown as a gap
  const message = { type: "session.input_audio_buffer.append", audio: base64Pcm16(samples) };
  kept.push([position, message]);
  if (kept.length > MOST_KEPT) kept.shift();
  position += samples.length;
  if (!ready) return;
  if (socket.bufferedAmount > MOST_UNSENT) show("wait", "the connection is too slow: behind");
  else show("live", "live");
  send(message);
}

function chosen(name) {
  return document.querySelector(`input[name="${name}"]:checked`)?.value;
}

function connect() {
  const resume = moved ? `&resume=${encodeURIComponent(moved)}` : "";
  socket = open(`/v1/realtime/translations?model=${encodeURIComponent(info.model)}${resume}`);
  const mine = socket; // events of a socket that was given up do not count
  socket.onmessage = (message) => mine === socket && receive(JSON.parse(message.data));
  socket.onclose = (event) => mine === socket && lose(event);
}

function receive(event) {
  if (event.type === "session.created") {
    tries = 0;
    $("watch").href = `?watch=${event.session.id}`;
    $("watch").hidden = false;
    if (moved) return goOn(event.session.received_samples ?? 0);
    if (!input) return send({ type: "session.close" }); // stopped meanwhile
    kept = [];
    position = 0;
    send({
      type: "session.update",
      session: {
        audio: { input: { transcription: { model: info.model } } },
        echostream: {
          sample_rate: input.rate,
          max_future_frames: Number(chosen("look-ahead")),
          decoding_method: chosen("method"),
          speech: Boolean(speaker),
          resume: true,
        },
      },
    });
  } else if (event.type === "session.updated") {
    if (!ready) {
      ready = true;
      if (!input.started) input.start();
      input.started = true;
    }
    show("live", "live");
  } else if (event.type === "echostream.pong") {
    $("network").textContent = milliseconds(performance.now() - event.id);
  } else if (event.type === "session.output_audio.delta") {
    speaker?.play(event.delta, event.sample_rate);
  } else if (event.type === "error") {
    show("error", event.error.message);
    if (event.error.code === "session_not_found") giveUpMoved();
  } else if (event.type === "session.moved") {
    moved = event.id;
    ready = false;
    show("wait", "the server restarts …");
  } else if (event.type === "session.closed") {
    finish("finished");
  } else {
    caption(event);
  }
}

function gap() {
  for (const captions of [source, target]) captions.gap("connection lost: words are missing here");
}

// The session that has moved cannot go on: another one begins.
function giveUpMoved() {
  if (moved) gap();
  moved = null;
}

// The session has moved to this server: send what the one before has not received.
function goOn(received) {
  if (kept.length && received < kept[0][0]) gap();
  for (const [first, message] of kept) if (first >= received) send(message);
  moved = null;
  ready = Boolean(input);
  if (!input) return send({ type: "session.close" }); // stopped meanwhile
  show("live", "live");
}

function caption(event) {
  if (event.type === "session.input_transcript.delta") source.add(event.delta, event.elapsed_ms);
  else if (event.type === "session.output_transcript.delta") target.add(event.delta, event.elapsed_ms);
  else return;
  for (const part of ["algorithm", "queue", "compute"]) $(part).textContent = milliseconds(event.latency[`${part}_ms`]);
}

function milliseconds(value) {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

function lose(event) {
  ready = false;
  if (!running) return;
  if (event.code === 1011 || event.code === 1008) return finish(event.reason || "the server ended the session");
  if (tries >= RETRIES_MS.length) return finish("the server cannot be reached");
  if (!moved && tries === 0) gap();
  show("wait", event.code === 1013 ? `${event.reason} Trying again …` : "reconnecting …");
  retry = setTimeout(() => running && connect(), RETRIES_MS[tries++]);
}

async function start() {
  running = true;
  for (const captions of [source, target]) captions.clear();
  $("start").textContent = "Stop";
  for (const id of ["look-ahead", "method"]) $(id).disabled = true;
  $("input").disabled = true;
  show("wait", "connecting …");
  try {
    speaker?.stop();
    speaker = $("speech").checked ? new Speaker() : null;
    const [kind, name] = $("input").value.split(/:(.*)/);
    const example = info.examples.find((one) => one.name === name);
    input = example ? await openRecording(example.url, take, stop) : await openDevice(kind, take, stop);
    wakeLock = await navigator.wakeLock?.request("screen").catch(() => null); // refused on low battery
    pings = setInterval(() => send({ type: "echostream.ping", id: performance.now() }), 2000);
    connect();
  } catch (error) {
    finish(error.name === "NotAllowedError" ? "the browser may not use this audio" : error.message, "error");
  }
}

function stop() {
  if (!running) return;
  release();
  ready = false;
  if (socket?.readyState === WebSocket.OPEN) {
    show("wait", "the last words …");
    send({ type: "session.close" });
  } else if (!moved) finish("stopped");
}

function release() {
  input?.stop();
  input = null;
}

function finish(text, kind = "idle") {
  running = ready = false;
  moved = null;
  clearInterval(pings);
  clearTimeout(retry);
  release();
  speaker?.finish();
  wakeLock?.release();
  const last = socket;
  socket = null;
  last?.close();
  $("start").textContent = "Start";
  for (const id of ["look-ahead", "method", "input"]) $(id).disabled = false;
  show(kind, text);
}

function watch() {
  if (info.needs_key && !$("key").value) return askKey();
  socket = open(`/v1/realtime/watch?id=${encodeURIComponent(watched)}`);
  $("controls").hidden = true;
  let opened = false, again = false;
  socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "session.moved") {
      [following, again, tries] = [true, true, 0];
      show("wait", "the server restarts …");
    } else if (event.type === "error") {
      again = event.error.code === "session_not_found" && tries < (following ? FOLLOW_TRIES : FIND_TRIES);
      if (again) show("wait", following ? "the server restarts …" : "looking for the session …");
      else show("error", event.error.message);
    } else if (event.type === "session.closed") show("idle", "the session has ended");
    else caption(event);
  };
  socket.onopen = () => {
    opened = true;
    show("live", "watching");
  };
  socket.onclose = () => {
    if (again || (following && !opened && tries < FOLLOW_TRIES)) {
      tries++;
      setTimeout(watch, 1000);
    } else if (!opened) show("error", "the server refuses the connection");
    else if ($("status").dataset.kind === "live") show("idle", "the connection has ended");
  };
}

function askKey() {
  for (const element of $("controls").children) element.hidden = !["key-label", "start"].includes(element.id);
  $("start").textContent = "Watch";
  $("start").disabled = false;
  $("controls").onsubmit = (event) => {
    event.preventDefault();
    try {
      watch();
    } catch (error) {
      show("error", error.message);
    }
  };
}

function choices(id, values, labels, picked) {
  $(id).append(...values.map((value, i) => {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: id, value });
    radio.checked = value === picked;
    label.append(radio, labels[i]);
    return label;
  }));
}

function showTexts() {
  const example = info.examples.find((one) => `recording:${one.name}` === $("input").value);
  $("texts").hidden = !example;
  $("transcript").textContent = example?.transcript ?? "";
  $("reference").textContent = example?.reference ?? "";
}

async function load() {
  info = await (await fetch("/v1/info")).json();
  const languages = [info.source_language, info.target_language].filter(Boolean);
  $("model").textContent = [info.model, languages.join(" → ")].filter(Boolean).join(" · ");
  for (const [id, language] of [["source", info.source_language], ["target", info.target_language]])
    if (language) $(id).lang = language;
  $("about").textContent = info.about;
  $("about").hidden = !info.about;
  $("algorithm").textContent = milliseconds(info.group_ms * (1 + info.default.max_future_frames));
  if (watched) return watch();
  choices("look-ahead", info.max_future_frames, info.max_future_frames.map((l) => (l ? `+${l * info.group_ms} ms` : "none")), info.default.max_future_frames);
  choices("method", info.decoding_methods, info.decoding_methods.map((one) => METHODS[one] ?? one), info.default.decoding_method);
  $("input").append(new Option("Microphone", "microphone:"), new Option("Audio of a tab", "tab:"));
  for (const example of info.examples) $("input").append(new Option(`Recording: ${example.transcript.slice(0, 40)}`, `recording:${example.name}`));
  if (info.examples.length) $("input").value = `recording:${info.examples[0].name}`;
  $("speech-label").hidden = !info.speech;
  $("key-label").hidden = !info.needs_key;
  $("input").onchange = showTexts;
  $("controls").onsubmit = (event) => {
    event.preventDefault();
    if (running) stop();
    else start();
  };
  showTexts();
  $("start").disabled = false;
}

load().catch((error) => show("error", `the server does not answer: ${error.message}`));
