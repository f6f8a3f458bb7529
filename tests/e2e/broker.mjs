// tests/e2e/broker.mjs -- for tests in JavaScript: starts a broker, runs tests, says what passed.
//
// `await run(tests)` starts the broker, runs the functions one after the other with the URL of its
// listener, prints `ok NAME` or `not ok NAME` for each and ends the process. E2E_PORT is the port
// of a broker that runs already. `run(tests, listeners)` has several, each with its URL and its
// keys: [{ url: 'wss://localhost:PORT/mqtt', keys: { certfile: ... } }, ...]. Tests get all URLs.

import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const WAIT = 1000 * Number(process.env.E2E_WAIT ?? 5);

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export function equal(got, wanted, what = 'value') {
    const [g, w] = [JSON.stringify(got), JSON.stringify(wanted)];
    if (g !== w) throw new Error(`${what}: expected ${w}, got ${g}`);
}

/** Waits until the condition holds. */
export async function until(what, condition) {
    for (const end = Date.now() + WAIT; !condition(); ) {
        if (Date.now() > end) throw new Error(`not within ${WAIT} ms: ${what}`);
        await sleep(5);
    }
}

function accepts(port) {
    return new Promise((done) => {
        const socket = net.connect(port, '127.0.0.1');
        socket.on('connect', () => (socket.destroy(), done(true)));
        socket.on('error', () => done(false));
    });
}

/** A port nobody listens on, of those that tests/e2e/run gives this test. */
async function freePort() {
    const [first, count] = (process.env.E2E_PORTS ?? '20000 12000').split(' ').map(Number);
    for (;;) {
        const port = first + Math.floor(Math.random() * count);
        if (!(await accepts(port))) return port;
    }
}

const PLAIN = { url: 'mqtt://127.0.0.1:PORT', keys: {} };

/** The section of one listener. */
function section(listener, number, port) {
    const keys = Object.entries(listener.keys).map(([key, value]) => `${key} = ${value}\n`);
    return `[listener l${number}]\nbind = 127.0.0.1:${port}\n${keys.join('')}`;
}

async function startBroker(listeners) {
    const folder = mkdtempSync(join(tmpdir(), 'broker-'));
    const ports = [];
    for (const _ of listeners) ports.push(await freePort());
    const port = ports[0];
    const config = join(folder, 'broker.ini');
    const log = join(folder, 'broker.log');
    writeFileSync(config, `[broker]\nworkers = ${process.env.WORKERS ?? 2}\n` +
        listeners.map((l, i) => section(l, i, ports[i])).join(''));
    const out = openSync(log, 'a');
    const child = spawn(process.env.CAUSEWAY, ['-c', config], { stdio: ['ignore', out, out] });
    const ended = new Promise((done) => child.on('exit', (code, signal) => done(code ?? signal)));
    for (const end = Date.now() + WAIT; !(await accepts(port)); await sleep(20)) {
        if (Date.now() > end) throw new Error(`no broker: ${readFileSync(log, 'utf8')}`);
    }
    const urls = listeners.map((l, i) => l.url.replace('PORT', ports[i]));
    return { urls, child, ended, log };
}

/** Ends it; complains if it does so in another way than cleanly. */
async function stopBroker(broker) {
    broker.child.kill('SIGTERM');
    const status = await broker.ended;
    const said = readFileSync(broker.log, 'utf8');
    const bad = /Sanitizer|runtime error:|this must hold and does not/.exec(said);
    if (bad) throw new Error(said.slice(Math.max(0, bad.index - 500), bad.index + 5000));
    equal(status, 0, 'exit status');
}

export async function run(tests, listeners = [PLAIN]) {
    const pick = process.argv.slice(2);
    let failed = 0;
    const one = async (name, f) => {
        try {
            await f();
            console.log(`ok ${name}`);
        } catch (error) {
            failed += 1;
            console.log(`not ok ${name}\n    ${(error.stack ?? error).replaceAll('\n', '\n    ')}`);
        }
    };
    const broker = process.env.E2E_PORT
        ? { urls: [PLAIN.url.replace('PORT', process.env.E2E_PORT)] }
        : await startBroker(listeners);
    for (const [name, f] of tests) {
        if (pick.length && !pick.some((word) => name.includes(word))) continue;
        await one(name, () => Promise.race([
            f(...broker.urls),
            sleep(6 * WAIT).then(() => { throw new Error('takes too long'); }),
        ]));
    }
    if (broker.child) await one('broker_ends_cleanly', () => stopBroker(broker));
    process.exit(failed ? 1 : 0);
}
