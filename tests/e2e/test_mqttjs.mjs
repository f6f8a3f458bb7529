// tests/e2e/test_mqttjs.mjs -- MQTT.js, versions 3.1, 3.1.1 and 5, against our broker.

import mqtt from 'mqtt';
import { equal, run, sleep, until } from './broker.mjs';

const NAME = { 3: 'v31', 4: 'v311', 5: 'v5' };
let count = 0;
const tests = [];
let open = [];

/** One test for each version; `f` gets (t, version), where t connects clients and makes topics. */
function test(name, versions, f) {
    for (const version of versions) {
        tests.push([`${name}_${NAME[version]}`, async (url) => {
            const base = `js${(count += 1)}`;
            const t = {
                base,
                topic: (tail = 't') => `${base}/${tail}`,
                connect: (options = {}) => connect(url, version, base, options),
            };
            try {
                await f(t, version);
            } finally {
                await Promise.all(open.map((c) => c.endAsync(true).catch(() => {})));
                open = [];
            }
        }]);
    }
}

/** A connected client; what it got is in client.got. */
async function connect(url, version, base, options) {
    const client = mqtt.connect(url, {
        protocolVersion: version,
        protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
        clientId: `${base}-${(count += 1)}`,
        clean: true,
        reconnectPeriod: 0,
        connectTimeout: 4000,
        ...options,
    });
    open.push(client);
    client.got = [];
    client.on('message', (topic, payload, packet) => client.got.push({
        topic, text: payload.toString(), payload, qos: packet.qos, retain: packet.retain,
        properties: packet.properties,
    }));
    client.on('error', () => {});
    await new Promise((done, wrong) => {
        client.once('connect', (connack) => ((client.connack = connack), done()));
        client.once('error', wrong);
        client.once('close', () => wrong(new Error('closed')));
    });
    client.wait = async (n) => {
        await until(`${n} messages`, () => client.got.length >= n);
        return client.got;
    };
    return client;
}

const keep = (version) => (version === 5
    ? { clean: false, properties: { sessionExpiryInterval: 60 } } : { clean: false });

test('all_qos_in_both_directions', [3, 4, 5], async (t) => {
    const [sub, pub] = [await t.connect(), await t.connect()];
    const wanted = [];
    for (const granted of [0, 1, 2]) {
        await sub.subscribeAsync(t.topic(granted), { qos: granted });
        for (const qos of [0, 1, 2]) {
            await pub.publishAsync(t.topic(granted), `${qos}`, { qos });
            wanted.push(`${t.topic(granted)} ${qos} ${Math.min(qos, granted)}`);
        }
    }
    const got = (await sub.wait(9)).map((m) => `${m.topic} ${m.text} ${m.qos}`);
    equal(got.sort(), wanted.sort());
});

test('five_hundred_messages_in_order', [3, 4, 5], async (t) => {
    const [sub, pub] = [await t.connect(), await t.connect()];
    for (const qos of [0, 1, 2]) {
        sub.got.length = 0;
        await sub.subscribeAsync(t.topic(qos), { qos });
        const sent = [];
        for (let i = 0; i < 500; i += 1) sent.push(pub.publishAsync(t.topic(qos), `${i}`, { qos }));
        await Promise.all(sent);
        equal((await sub.wait(500)).map((m) => Number(m.text)), [...Array(500).keys()]);
    }
});

test('retained_messages', [3, 4, 5], async (t) => {
    const pub = await t.connect();
    await pub.publishAsync(t.topic(), 'kept', { qos: 1, retain: true });
    const sub = await t.connect();
    await sub.subscribeAsync(t.topic('#'), { qos: 1 });
    const [m] = await sub.wait(1);
    equal([m.text, m.retain], ['kept', true]);
    await pub.publishAsync(t.topic(), '', { qos: 1, retain: true });
    equal((await sub.wait(2))[1].retain, false);
    const late = await t.connect();
    await late.subscribeAsync(t.topic('#'));
    await pub.publishAsync(t.topic('mark'), 'x', { qos: 1 });
    equal((await late.wait(1))[0].text, 'x');
});

test('a_will', [3, 4, 5], async (t) => {
    const watch = await t.connect();
    await watch.subscribeAsync(t.topic('will'), { qos: 2 });
    const dying = await t.connect({ will: { topic: t.topic('will'), payload: 'gone', qos: 2 } });
    dying.stream.destroy();
    const [m] = await watch.wait(1);
    equal([m.text, m.qos], ['gone', 2]);
});

test('no_will_after_goodbye', [3, 4, 5], async (t) => {
    const watch = await t.connect();
    await watch.subscribeAsync(t.topic('#'), { qos: 1 });
    const polite = await t.connect({ will: { topic: t.topic('will'), payload: 'gone', qos: 1 } });
    await polite.endAsync();
    await sleep(50);
    await watch.publishAsync(t.topic('mark'), 'x', { qos: 1 });
    equal((await watch.wait(1))[0].text, 'x');
});

test('a_group_shares_its_messages', [4, 5], async (t) => {
    const subs = [await t.connect(), await t.connect(), await t.connect()];
    for (const sub of subs) await sub.subscribeAsync(`$share/g/${t.topic()}`, { qos: 1 });
    const pub = await t.connect();
    for (let i = 0; i < 30; i += 1) await pub.publishAsync(t.topic(), `${i}`, { qos: 1 });
    for (const sub of subs) await sub.wait(10);
    const all = subs.flatMap((s) => s.got.map((m) => Number(m.text))).sort((a, b) => a - b);
    equal(all, [...Array(30).keys()]);
});

test('a_session_is_resumed', [3, 4, 5], async (t, version) => {
    const clientId = `${t.base}-kept`;
    const first = await t.connect({ clientId, ...keep(version) });
    await first.subscribeAsync(t.topic(), { qos: 2 });
    await first.endAsync();
    const pub = await t.connect();
    for (let i = 0; i < 20; i += 1) {
        await pub.publishAsync(t.topic(), `${i}`, { qos: 1 + (i % 2) });
    }
    const again = await t.connect({ clientId, ...keep(version) });
    if (version !== 3) equal(again.connack.sessionPresent, true);
    const all = (await again.wait(20)).map((m) => Number(m.text)).sort((a, b) => a - b);
    equal(all, [...Array(20).keys()]);
});

test('a_connection_that_breaks_comes_back_with_its_messages', [4, 5], async (t, version) => {
    const sub = await t.connect({ reconnectPeriod: 20, ...keep(version) });
    await sub.subscribeAsync(t.topic(), { qos: 1 });
    const pub = await t.connect();
    for (let i = 0; i < 40; i += 1) {
        if (i % 10 === 5) sub.stream.destroy();
        await pub.publishAsync(t.topic(), `${i}`, { qos: 1 });
    }
    await until('all came', () => new Set(sub.got.map((m) => m.text)).size === 40);
});

test('a_large_message', [3, 4, 5], async (t) => {
    const c = await t.connect();
    await c.subscribeAsync(t.topic(), { qos: 1 });
    const payload = Buffer.alloc(600000, 'abc');
    await c.publishAsync(t.topic(), payload, { qos: 1 });
    equal((await c.wait(1))[0].payload.equals(payload), true, 'the same bytes');
});

test('unsubscribing', [3, 4, 5], async (t) => {
    const c = await t.connect();
    await c.subscribeAsync([t.topic('a'), t.topic('b')]);
    await c.unsubscribeAsync(t.topic('a'));
    await c.publishAsync(t.topic('a'), 'a', { qos: 1 });
    await c.publishAsync(t.topic('b'), 'b', { qos: 1 });
    equal((await c.wait(1))[0].text, 'b');
});

test('properties', [5], async (t) => {
    const [sub, pub] = [await t.connect(), await t.connect()];
    await sub.subscribeAsync(t.topic(), { qos: 1, properties: { subscriptionIdentifier: 5 } });
    const properties = {
        contentType: 'text', responseTopic: 'r', correlationData: Buffer.from('c'),
        payloadFormatIndicator: true, messageExpiryInterval: 100,
        userProperties: { b: ['1', '2'], a: '3' },
    };
    await pub.publishAsync(t.topic(), 'x', { qos: 1, properties });
    const [m] = await sub.wait(1);
    equal(m.properties.contentType, 'text');
    equal(m.properties.responseTopic, 'r');
    equal(m.properties.correlationData.toString(), 'c');
    equal(m.properties.userProperties, { b: ['1', '2'], a: '3' });
    equal(m.properties.subscriptionIdentifier, 5);
    equal([99, 100].includes(m.properties.messageExpiryInterval), true, 'message expiry');
});

test('topic_aliases_in_both_directions', [5], async (t) => {
    const sub = await t.connect({ properties: { topicAliasMaximum: 5 } });
    const pub = await t.connect({ autoUseTopicAlias: true, autoAssignTopicAlias: true });
    await sub.subscribeAsync(t.topic('#'), { qos: 1 });
    for (let i = 0; i < 30; i += 1) await pub.publishAsync(t.topic(`${i % 4}`), `${i}`, { qos: 1 });
    const got = await sub.wait(30);
    equal(got.map((m) => m.topic), [...Array(30).keys()].map((i) => t.topic(`${i % 4}`)));
});

test('a_second_client_takes_over', [4, 5], async (t, version) => {
    const old = await t.connect({ clientId: `${t.base}-same` });
    const said = new Promise((done) => {
        old.on('disconnect', (packet) => done(packet.reasonCode));
        old.on('close', () => setTimeout(() => done(null), 50));
    });
    const next = await t.connect({ clientId: `${t.base}-same` });
    equal(await said, version === 5 ? 0x8e : null, 'reason');
    await next.publishAsync(t.topic(), 'x', { qos: 1 });
});

test('an_assigned_client_id', [5], async (t) => {
    const c = await t.connect({ clientId: '' });
    equal(c.connack.properties.assignedClientIdentifier.length > 0, true, 'an id');
});

test('a_receive_maximum_of_1', [5], async (t) => {
    const sub = await t.connect({ properties: { receiveMaximum: 1 } });
    const pub = await t.connect();
    await sub.subscribeAsync(t.topic(), { qos: 2 });
    for (let i = 0; i < 20; i += 1) await pub.publishAsync(t.topic(), `${i}`, { qos: 2 });
    equal((await sub.wait(20)).map((m) => Number(m.text)), [...Array(20).keys()]);
});

test('sixty_clients_at_once', [3, 4, 5], async (t) => {
    const clients = await Promise.all([...Array(60)].map(() => t.connect()));
    await Promise.all(clients.map((c, i) => c.subscribeAsync(t.topic(`${i}/+`), { qos: 1 })));
    await Promise.all(clients.map((c, i) =>
        c.publishAsync(t.topic(`${(i + 1) % 60}/x`), `${i}`, { qos: 1 })));
    for (const [i, c] of clients.entries()) {
        equal((await c.wait(1)).map((m) => Number(m.text)), [(i + 59) % 60]);
    }
});

await run(tests);
