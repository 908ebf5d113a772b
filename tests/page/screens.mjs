// The demo in motion, and pictures of each screen: light, dark and narrow.
import { accessible, assert, browse, link, picture } from "./browser.mjs";

await browse(async (open) => {
  const page = await open(link);
  await page.locator("tr.run").getByRole("link", { name: "audit" }).click();
  // The graph moves: it is seen while nodes run, and each of them is done at the end.
  await page.locator("g.node.run").first().waitFor();
  await page.locator(".badge", { hasText: "ok" }).waitFor({ timeout: 180_000 });
  await page.locator('g.node[aria-label^="report: ✔ 1"]').waitFor();
  await page.getByRole("tab", { name: "Messages" }).click();
  await page.locator(".message.ai", { hasText: "Audit of" }).waitFor();
  await accessible(page, "messages");
  await picture(page, "run-messages");
  await page.getByRole("tab", { name: "Receivers" }).click();
  await page.locator("#pane th", { hasText: "updates" }).first().waitFor();
  await picture(page, "run-receivers");
  await page.getByRole("tab", { name: "State" }).click();
  await page.getByText("after step").waitFor();
  await page.locator('g.node[aria-label^="audit_file:"]').dblclick();
  await page.locator("g.cluster").waitFor();
  await picture(page, "run");
  const address = page.url().replace(/#.*/, "") + link.slice(link.indexOf("#")) + "&" + new URL(page.url()).hash.slice(1);

  const dark = await open(address, { dark: true });
  await dark.locator("g.node").first().waitFor();
  await accessible(dark, "a run, dark");
  await picture(dark, "run-dark");
  const narrow = await open(address, { width: 390, height: 844 });
  await narrow.locator("g.node").first().waitFor();
  await accessible(narrow, "a run, narrow");
  await picture(narrow, "run-narrow");
  const wide = await narrow.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `nothing is wider than the screen: ${wide}`);

  for (const [name, view] of Object.entries({ list: {}, "list-dark": { dark: true }, "list-narrow": { width: 390, height: 844 } })) {
    const list = await open(link, view);
    await list.locator("table.runs a").first().waitFor();
    await accessible(list, name);
    await picture(list, name);
    if (name !== "list") continue;
    assert.ok((await list.locator("tbody tr").count()) >= 2);
    for (const box of (await list.locator("tbody input").all()).slice(0, 2)) await box.check();
    await list.getByRole("button", { name: "compare 2 of 2" }).click();
    await list.getByRole("rowheader", { name: "audit_file" }).first().waitFor();
    await accessible(list, "compare");
    await picture(list, "compare");
    const both = link + "&" + new URL(list.url()).hash.slice(1);
    for (const [look, view] of Object.entries({ dark: { dark: true }, narrow: { width: 390, height: 844 } })) {
      const again = await open(both, view);
      await again.getByRole("rowheader", { name: "audit_file" }).first().waitFor();
      await accessible(again, `compare, ${look}`);
      await picture(again, `compare-${look}`);
      assert.ok((await again.evaluate(() => document.documentElement.scrollWidth)) <= (view.width ?? 1440), `compare, ${look}: nothing is wider than the screen`);
    }
  }
});
