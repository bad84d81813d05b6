// Collects the samples of the device and posts 100 ms at a time.
class Collector extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Float32Array(Math.ceil(sampleRate / 10));
    this.filled = 0;
  }

  process(inputs) {
    const [channel] = inputs[0];
    if (!channel) return true;
    for (const value of channel) {
      this.samples[this.filled++] = value;
      if (this.filled === this.samples.length) {
        this.port.postMessage(this.samples.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}
registerProcessor("collector", Collector);
