// The page below a prefix: its files, its data, its events and its links are all below it.
import { assert, browse, link } from "./browser.mjs";

await browse(async (open) => {
  const page = await open(link);
  assert.ok(page.url().endsWith("/agents/view/#/"), page.url());
  const row = page.locator("tbody tr", { hasText: "<img" });
  await row.waitFor();
  await row.getByRole("link").first().click();
  await page.locator("g.node").first().waitFor();
  await page.getByText("waits for a human:").waitFor();
  assert.ok(page.url().includes("/agents/view/#/run/"));
  await page.getByRole("tab", { name: "State" }).click();
  await page.keyboard.press("[");
  await page.locator(".key", { hasText: "many" }).first().waitFor();
  // Its address leads there again, in a second tab as in this one, which both go on hearing.
  const second = await page.context().newPage();
  await page.reload();
  await page.locator("g.node").first().waitFor();
  await second.goto(`${link}&${new URL(page.url()).hash.slice(1)}`);
  await second.locator("g.node").first().waitFor();
  await page.getByRole("link", { name: "All runs" }).click();
  await row.waitFor();
  assert.ok(page.url().endsWith("/agents/view/#/"), page.url());
});
