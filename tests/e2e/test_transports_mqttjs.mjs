// tests/e2e/test_transports_mqttjs.mjs -- MQTT.js over TLS, WebSocket and both, 3.1.1 and 5.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import mqtt from 'mqtt';
import { equal, run, until } from './broker.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const certs = join(process.env.BUILD, 'certs');
execFileSync('bash', [join(here, '..', 'support', 'certs.sh'), certs]);
const server = { certfile: join(certs, 'server.crt'), keyfile: join(certs, 'server.key') };
const ca = readFileSync(join(certs, 'ca.crt'));
const own = (name) => ({
    cert: readFileSync(join(certs, `${name}.crt`)), key: readFileSync(join(certs, `${name}.key`)),
});

const websockets = { protocol: 'websockets' };
const mutual = {
    cafile: join(certs, 'ca.crt'), require_certificate: true, use_identity_as_username: true,
};
const listeners = [
    { url: 'mqtts://localhost:PORT', keys: server },
    { url: 'ws://localhost:PORT/mqtt', keys: { ...websockets, websockets_path: '/mqtt' } },
    {
        url: 'wss://localhost:PORT/any/path?x=1',
        keys: { ...server, ...websockets, websockets_path: '/' },
    },
    { url: 'wss://localhost:PORT/mqtt', keys: { ...server, ...websockets, ...mutual } },
    { url: 'mqtt://localhost:PORT', keys: {} },
];
const KINDS = ['mqtts', 'ws', 'wss'];
const NAME = { 4: 'v311', 5: 'v5' };
const tests = [];
let count = 0;
let open = [];

/** A connected client; what it got is in client.got. */
async function connect(url, version, options = {}) {
    const client = mqtt.connect(url, {
        protocolVersion: version, clientId: `tr-${(count += 1)}`, clean: true, reconnectPeriod: 0,
        connectTimeout: 4000, ca, ...options,
    });
    open.push(client);
    client.got = [];
    client.on('message', (topic, payload, packet) => client.got.push({
        topic, payload, text: payload.toString(), qos: packet.qos,
    }));
    client.on('error', () => {});
    await new Promise((done, wrong) => {
        client.once('connect', done);
        client.once('error', wrong);
        client.once('close', () => wrong(new Error('closed')));
    });
    client.wait = async (n) => {
        await until(`${n} messages`, () => client.got.length >= n);
        return client.got;
    };
    return client;
}

function add(name, f) {
    tests.push([name, async (...urls) => {
        try {
            await f(urls);
        } finally {
            await Promise.all(open.map((c) => c.endAsync(true).catch(() => {})));
            open = [];
        }
    }]);
}

/** One test for each way and each version; f gets the URL, the version and all URLs. */
function test(name, f) {
    KINDS.forEach((kind, i) => [4, 5].forEach((version) =>
        add(`${name}_${kind}_${NAME[version]}`, (urls) => f(urls[i], version, urls))));
}

test('all_qos_in_both_directions', async (url, version, urls) => {
    const [near, far] = [await connect(url, version), await connect(urls[4], version)];
    const topic = `t${(count += 1)}`;
    await near.subscribeAsync(`${topic}/near`, { qos: 2 });
    await far.subscribeAsync(`${topic}/far`, { qos: 2 });
    for (const qos of [0, 1, 2]) {
        await far.publishAsync(`${topic}/near`, `${qos}`, { qos });
        await near.publishAsync(`${topic}/far`, `${qos}`, { qos });
    }
    for (const c of [near, far]) equal((await c.wait(3)).map((m) => m.qos), [0, 1, 2]);
});

test('a_message_of_1_mb', async (url, version) => {
    const c = await connect(url, version);
    const topic = `t${(count += 1)}`;
    const payload = Buffer.alloc(1 << 20, 'abcde');
    await c.subscribeAsync(topic, { qos: 1 });
    await c.publishAsync(topic, payload, { qos: 1 });
    equal((await c.wait(1))[0].payload.equals(payload), true, 'the same bytes');
});

test('a_thousand_messages_in_order', async (url, version) => {
    const [sub, pub] = [await connect(url, version), await connect(url, version)];
    const topic = `t${(count += 1)}`;
    await sub.subscribeAsync(topic, { qos: 1 });
    const sent = [];
    for (let i = 0; i < 1000; i += 1) sent.push(pub.publishAsync(topic, `${i}`, { qos: 1 }));
    await Promise.all(sent);
    equal((await sub.wait(1000)).map((m) => Number(m.text)), [...Array(1000).keys()]);
});

test('a_will_when_the_stream_is_cut', async (url, version) => {
    const watch = await connect(url, version);
    const topic = `t${(count += 1)}`;
    await watch.subscribeAsync(topic, { qos: 1 });
    const dying = await connect(url, version, { will: { topic, payload: 'gone', qos: 1 } });
    dying.stream.destroy();
    equal((await watch.wait(1))[0].text, 'gone');
});

test('forty_clients_at_once', async (url, version) => {
    const topic = `t${(count += 1)}`;
    const clients = await Promise.all([...Array(40)].map(() => connect(url, version)));
    await Promise.all(clients.map((c) => c.subscribeAsync(topic, { qos: 1 })));
    await clients[0].publishAsync(topic, 'to all', { qos: 1 });
    for (const c of clients) equal((await c.wait(1))[0].text, 'to all');
});

for (const version of [4, 5]) {
    add(`a_certificate_is_proven_over_wss_${NAME[version]}`, async (urls) => {
        const c = await connect(urls[3], version, own('client'));
        await c.publishAsync('x', 'x', { qos: 1 });
        for (const wrong of [{}, own('other_client')]) {
            let refused = false;
            await connect(urls[3], version, wrong).catch(() => (refused = true));
            equal(refused, true, 'refused');
        }
    });
    add(`an_unknown_server_is_refused_${NAME[version]}`, async (urls) => {
        for (const url of [urls[0], urls[2]]) {
            let refused = false;
            await connect(url, version, { ca: readFileSync(join(certs, 'other_ca.crt')) })
                .catch(() => (refused = true));
            equal(refused, true, 'refused');
        }
    });
}

await run(tests, listeners);
