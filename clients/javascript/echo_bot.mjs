#!/usr/bin/env node
// Echoes each direct message exactly once, even if it is killed. It needs no package, and Node.js 22 or
// newer (20 with --experimental-websocket).
//
//     hobnob up --web 127.0.0.1:4680
//     hobnob token create echo --rights read,send
//     HOBNOB_TOKEN=hobnob-token-… node clients/javascript/echo_bot.mjs ws://127.0.0.1:4680/ws last.txt
//
// The last argument names the file that keeps the id of the last message that was handled.
import { readFileSync, renameSync, writeFileSync } from "node:fs";

const [url = "ws://127.0.0.1:4680/ws", file = "last.txt"] = process.argv.slice(2);

/** The lines of a node. `ask` sends a request and returns its answer. */
class Node {
  static async connect(url, token) {
    const node = new Node();
    node.socket = new WebSocket(url);
    node.answers = new Map();
    node.id = 0;
    node.woken = () => {};
    node.ended = new Promise((_, reject) => {
      node.socket.onclose = ({ code, reason }) => reject(new Error(`the node closed: ${code} ${reason}`));
    });
    node.ended.catch(() => {}); // whoever waits learns it
    node.socket.onmessage = ({ data }) => node.take(JSON.parse(data));
    await Promise.race([new Promise((done) => (node.socket.onopen = done)), node.ended]);
    // The first message is the token. Its answer has the id null.
    await node.write({ token }, null);
    await node.ask("subscribe");
    return node;
  }

  take(line) {
    if (line.event === undefined) {
      this.answers.get(line.id)?.(line);
      this.answers.delete(line.id);
    } else if (line.event === "message" || line.event === "lagged") {
      this.news = true;
      this.woken();
    }
  }

  async write(line, id) {
    const answer = new Promise((done) => this.answers.set(id, done));
    this.socket.send(JSON.stringify(line));
    const { ok, error } = await Promise.race([answer, this.ended]);
    if (error) throw Object.assign(new Error(error.text), error);
    return ok;
  }

  ask(cmd, fields = {}) {
    const id = ++this.id;
    return this.write({ id, cmd, ...fields }, id);
  }

  /** Every message after this one, each exactly once: those of earlier runs, and then the new ones. */
  async *messages(after) {
    for (;;) {
      this.news = false;
      const page = await this.ask("history", { oldest: true, ...(after && { after }) });
      for (const message of page.messages) {
        after = message.id;
        yield message;
      }
      if (page.messages.length === 0 && !this.news) {
        await Promise.race([new Promise((done) => (this.woken = done)), this.ended]);
      }
    }
  }
}

function last() {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

try {
  const node = await Node.connect(url, process.env.HOBNOB_TOKEN);
  for await (const message of node.messages(last())) {
    const direct = message.conversation.startsWith("@");
    if (direct && message.state === undefined && message.text !== undefined) {
      // If the bot is killed before it notes the message, it sends this again. The node knows the
      // client_id and does not.
      await node.ask("reply", {
        message: message.id,
        text: `echo: ${message.text.slice(0, 4000)}`,
        client_id: `echo ${message.id}`,
        wait: "queued",
      });
    }
    writeFileSync(`${file}.new`, message.id);
    renameSync(`${file}.new`, file);
  }
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
