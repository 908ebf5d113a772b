// One page of the documentation's site: light, dark, narrow, without JavaScript; then the search.
import { accessible, assert, browse, link, picture, rest } from "./browser.mjs";

// The theme's own: two drawers without a name, and code that is scrolled by pointer and not by key.
const THEMES = ["landmark-unique", "scrollable-region-focusable"];
const [name, path] = rest;

await browse(async (open) => {
  for (const dark of [false, true]) {
    const page = await open(`${link}/${path}`, { dark });
    await page.locator("h1").first().waitFor();
    const shade = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3);
    assert.equal(shade < 128, dark, `the background is ${shade}`);
    await picture(page, dark ? `${name}-dark` : name);
    // What axe takes for the thousands of names of a reference page is minutes.
    if (name !== "reference") await accessible(page, dark ? "dark" : "light", THEMES);
  }
  const narrow = await open(`${link}/${path}`, { width: 390, height: 844 });
  assert.ok((await narrow.evaluate(() => document.documentElement.scrollWidth)) <= 390, "nothing is wider than the screen");
  const plain = await open(`${link}/${path}`, { scripts: false });
  assert.ok((await plain.locator("article").first().innerText()).length > 500, "it is read without JavaScript");
  assert.equal(await plain.getByRole("link", { name: "Other versions" }).count(), 1);
  const found = await open(`${link}/search.html?q=drop_oldest`);
  await found.locator("#search-results li a").first().waitFor();
});
