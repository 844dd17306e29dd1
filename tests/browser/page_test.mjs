// Types a command on the local Slack's page and watches its card reach completed. See README.md.

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { CASES, drawn } from './drawing.mjs';
import { setup } from './setup.mjs';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

const { values: options } = parseArgs({
  options: {
    stack: { type: 'string', default: 'target/local/stack.json' },
    prompt: { type: 'string', default: 'say hello' },
    expect: { type: 'string', multiple: true, default: [] },
    timeout: { type: 'string', default: '120' },
    buttons: { type: 'boolean', default: false },
    screenshot: { type: 'string' },
    go: { type: 'string' },
    dir: { type: 'string' },
  },
});

const stack = JSON.parse(readFileSync(options.stack, 'utf8'));
const patience = Number(options.timeout) * 1000;
const outcome = { passed: 0, failed: 0 };

/** Counts a check; what a failed one found is printed. Gives whether it passed. */
async function check(what, run) {
  try {
    await run();
    outcome.passed += 1;
    console.log(`ok      ${what}`);
    return true;
  } catch (error) {
    outcome.failed += 1;
    console.log(`FAILED  ${what}\n        ${error.message.split('\n')[0].slice(0, 600)}`);
    return false;
  }
}

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

async function run(page) {
  const strangers = [];
  const errors = [];
  const home = new URL(stack.slackUrl).origin;
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (/^(https?|wss?):$/.test(url.protocol) && url.origin !== home) strangers.push(url.href);
  });

  const address = new URL(stack.slackUrl);
  if (stack.channelId) address.searchParams.set('channel', stack.channelId);
  const opened = await check('the page opens and is connected', async () => {
    await page.goto(address.href);
    await page.locator('#app[data-connected="true"]').waitFor();
    await page.locator('[data-channel-id][aria-current]').waitFor();
  });
  if (!opened) return;
  for (const [how, text, html] of CASES) {
    await check(`${how} draws ${JSON.stringify(text)}`, async () => {
      const found = await page.evaluate(drawn, [how, text]);
      expect(found === html, `as ${found} instead of ${html}`);
    });
  }
  await task(page);
  await check('the page runs without an error', () => expect(!errors.length, errors[0]));
  await check('nothing is loaded from elsewhere', () => expect(!strangers.length, strangers[0]));
}

async function task(page) {
  const cards = page.locator('[data-messages] [data-message-ts][data-ephemeral="false"]:has(.badge)', { hasText: options.prompt.slice(0, 40) });
  const before = await cards.count();
  await check('a command is typed and sent', async () => {
    const box = page.getByRole('textbox', { name: 'Message', exact: true });
    await box.fill(`/bm run ${options.prompt}`);
    await box.press('Enter');
    await page.locator('[data-ephemeral="true"]', { hasText: '/bm run' }).last().waitFor({ timeout: 10_000 });
  });
  const card = cards.nth(before);
  let first = {};
  const appeared = await check('a card for the task appears', async () => {
    await card.waitFor({ timeout: patience });
    first = await card.evaluate((node) => ({ ts: node.dataset.messageTs, text: node.innerText }));
    if (options.go) writeFileSync(options.go, '');
  });
  if (appeared) await watch(page, cards, before, first);
}

async function watch(page, cards, before, first) {
  const card = page.locator(`[data-messages] [data-message-ts="${first.ts}"]`);
  await check('the card reads completed', async () => {
    await card.filter({ hasText: /completed/i }).waitFor({ timeout: patience });
  });
  const text = await card.innerText();
  await check('the card changed in place', async () => {
    expect(text !== first.text, 'the card reads as it did at first');
    expect((await cards.count()) === before + 1, 'there is more than one card for the task');
  });
  await check('the command reported no problem', async () => {
    expect(await page.locator('[data-problem]').first().isHidden(), await page.locator('[data-problem]').first().innerText());
  });
  if (options.buttons) await check('the card has buttons to press', async () => {
    expect((await card.locator('[data-action-id]').count()) > 0, 'there is no button on the card');
  });
  for (const wanted of options.expect) {
    await check(`the card shows “${wanted}”`, async () => {
      const shown = card.filter({ hasText: wanted }).waitFor({ timeout: 10_000 });
      await shown.catch(async () => expect(false, `it reads: ${(await card.innerText()).replaceAll('\n', ' | ')}`));
    });
  }
}

const { driver, executablePath, env } = await setup(options.dir);
const { chromium } = createRequire(import.meta.url)(driver);
// The driver gives every run a user data directory of its own and removes it.
const browser = await chromium.launch({ executablePath, env, args: FLAGS });
try {
  const page = await browser.newPage({ viewport: { width: 1360, height: 960 }, locale: 'en-US' });
  await run(page);
  if (options.screenshot) await page.screenshot({ path: options.screenshot, animations: 'disabled' });
} finally {
  await browser.close();
}
console.log(`${outcome.passed} passed, ${outcome.failed} failed`);
process.exitCode = outcome.failed ? 1 : 0;
