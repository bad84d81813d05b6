// Where audio comes from. Each source calls `take` with Float32 samples of its own rate.

export async function openDevice(kind, take, ended) {
  const stream = kind === "tab"
    ? await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true })
    : await navigator.mediaDevices.getUserMedia({
        audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true },
      });
  if (!stream.getAudioTracks().length) {
    stream.getTracks().forEach((track) => track.stop());
    throw new Error("this tab was shared without its audio");
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule("/page/worklet.js");
  const node = new AudioWorkletNode(context, "collector", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  node.port.onmessage = (event) => take(event.data);
  const source = context.createMediaStreamSource(new MediaStream(stream.getAudioTracks()));
  stream.getAudioTracks()[0].onended = ended;
  return {
    rate: context.sampleRate,
    start: () => source.connect(node),
    stop: () => {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    },
  };
}

// A recording is sent at the pace at which it is played.
export async function openRecording(url, take, ended) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the recording cannot be loaded (${answer.status})`);
  const { rate, samples } = readWav(await answer.arrayBuffer());
  const player = new Audio(url);
  const size = Math.round(rate / 10);
  let timer = 0;
  return {
    rate,
    start: () => {
      const begin = performance.now();
      let sent = 0;
      player.play().catch(() => {}); // a browser may refuse to play without a click
      timer = setInterval(() => {
        const due = Math.min(samples.length, ((performance.now() - begin) / 1000) * rate);
        while (sent < samples.length && sent + size <= due) {
          take(samples.subarray(sent, sent + size));
          sent += size;
        }
        if (due === samples.length) {
          if (sent < samples.length) take(samples.subarray(sent));
          clearInterval(timer);
          ended();
        }
      }, 50);
    },
    stop: () => {
      clearInterval(timer);
      player.pause();
    },
  };
}

function readWav(buffer) {
  const view = new DataView(buffer);
  let at = 12, rate = 0;
  for (;;) {
    const name = String.fromCharCode(...new Uint8Array(buffer, at, 4));
    const size = view.getUint32(at + 4, true);
    if (name === "fmt ") rate = view.getUint32(at + 12, true);
    if (name === "data") {
      const samples = Float32Array.from({ length: size / 2 }, (_, i) => view.getInt16(at + 8 + 2 * i, true) / 32768);
      return { rate, samples };
    }
    at += 8 + size + (size % 2);
  }
}

export function base64Pcm16(samples) {
  const data = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((value, i) => data.setInt16(2 * i, Math.max(-32768, Math.min(32767, Math.round(value * 32768))), true));
  let text = "";
  for (const byte of new Uint8Array(data.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

// Plays PCM16 pieces one after the other.
export class Speaker {
  constructor() {
    this.context = new AudioContext();
    this.next = 0;
  }

  play(base64, rate) {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const values = new Int16Array(bytes.buffer);
    const buffer = this.context.createBuffer(1, values.length, rate);
    buffer.copyToChannel(Float32Array.from(values, (v) => v / 32768), 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    this.next = Math.max(this.next, this.context.currentTime + 0.05);
    source.start(this.next);
    this.next += buffer.duration;
  }

  // Closes after what has come so far.
  finish() {
    this.timer = setTimeout(() => this.stop(), 1000 * Math.max(0, this.next - this.context.currentTime));
  }

  stop() {
    clearTimeout(this.timer);
    if (this.context.state !== "closed") this.context.close();
  }
}
