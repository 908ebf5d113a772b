// A run of ten thousand spans scrolls, and a state of ten megabytes opens, while the page goes on.
import { assert, browse, link, picture, settled } from "./browser.mjs";

/** Elements that the page may consist of, whatever it shows. */
const MOST = 3_000;
/** Elements by which each unfolding of a list may add to that: a piece of it, and a button for the next. */
const UNFOLDED = 1_000;
/** Milliseconds without a frame that are no freeze, on a machine that does much else. */
const FROZEN = 5_000;

await browse(async (open) => {
  const page = await open(link);
  const row = page.locator("tr.ok, tr.run", { hasText: "large" });
  await row.waitFor();
  await row.locator("td[data-label=dropped]", { hasText: /^2.*[1-9]/ }).waitFor();
  // Watches frames from now on: what lies between two of them is how long nobody can do anything.
  await page.evaluate(() => {
    window.longest = 0;
    let last = performance.now();
    const frame = (now) => ((window.longest = Math.max(window.longest, now - last)), (last = now), requestAnimationFrame(frame));
    requestAnimationFrame(frame);
  });
  async function goesOn(what, most = MOST) {
    await settled(page);
    const [longest, elements] = await page.evaluate(() => {
      const found = [window.longest, document.querySelectorAll("*").length];
      window.longest = 0;
      return found;
    });
    console.log(`${what}: ${elements} elements, ${Math.round(longest)} ms without a frame at most`);
    assert.ok(elements < most, `${what}: ${elements} elements`);
    assert.ok(longest < FROZEN, `${what}: nothing for ${longest} ms`);
  }

  await row.getByRole("link", { name: "large" }).click();
  const group = page.getByRole("row", { name: /look ×2.?500/ });
  await group.waitFor();
  await goesOn("a run of ten thousand spans");
  await group.click();
  await page.locator(".row", { hasText: "look" }).nth(5).waitFor();
  const rows = page.locator(".rows");
  const many = Number(await rows.getAttribute("aria-rowcount"));
  assert.ok(many > 2_500, `${many} rows`);
  for (let part = 0; part <= 40; part++) {
    await rows.evaluate((view, part) => void (view.scrollTop = (view.scrollHeight / 40) * part), part);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)));
  }
  await goesOn("rows that are scrolled through");
  assert.ok((await page.locator(".row").count()) > 5);
  await picture(page, "large");

  // What lies below every one of them, too, as who looks for something finds it.
  await page.keyboard.press("/");
  await page.keyboard.type("call 2");
  await page.locator(".row", { hasText: "call 2" }).first().waitFor();
  await goesOn("a search in them");
  await page.keyboard.press("Escape");

  await page.getByRole("tab", { name: "State" }).click();
  await page.keyboard.press("[");
  await page.getByText("after step 1").waitFor();
  await page.locator(".key.how-new", { hasText: "documents" }).waitFor();
  const size = await page.locator(".key", { hasText: "documents" }).locator(".kind").first().textContent();
  assert.match(size, /MB/);
  await goesOn("a state of ten megabytes");
  for (let n = 0; n < 8; n++) {
    const button = page.locator("#pane button", { hasText: /^[▸]|more|load/ }).nth(n % 2);
    if ((await button.count()) === 0) break;
    await button.click();
    await goesOn(`unfolded ${n + 1} times`, MOST + n * UNFOLDED);
  }
  await page.getByRole("tab", { name: "Stream" }).click();
  await page.locator(".parts li button").first().click();
  await goesOn("a part that is a state", MOST + 8 * UNFOLDED);
});
