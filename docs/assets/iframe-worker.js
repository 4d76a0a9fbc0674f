/* The search runs in a worker, which browsers do not start for pages opened from a folder. There, and only there, a
   hidden frame takes its place. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inside = this.frame.contentWindow;
      this.waiting = [];
      inside.importScripts = (...addresses) =>
        Promise.all(
          addresses.map(
            (source) =>
              new Promise((done) => {
                const script = inside.document.createElement("script");
                script.src = source;
                script.onload = done;
                inside.document.body.appendChild(script);
              }),
          ),
        );
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      inside.importScripts(address).then(() => {
        const early = this.waiting;
        this.waiting = null;
        early.forEach((data) => this.postMessage(data));
      });
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
