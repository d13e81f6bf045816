// The one account of a file of stories: made by the first that signs in, used by the others.
const NAME = "ann";
const PASSWORD = "a long enough pass phrase";

export async function signIn({ page, visit, controller }) {
  await visit("/login");
  if (new URL(page.url()).pathname === "/setup") {
    const [, code] = await controller.match(/Setup code (\S+)/);
    await page.fill("[name=code]", code);
    await page.fill("[name=username]", NAME);
    for (const field of await page.locator("input[type=password]").all()) await field.fill(PASSWORD);
  } else {
    await page.fill("[name=username]", NAME);
    await page.fill("[name=password]", PASSWORD);
  }
  await page.click("form button");
  await page.waitForURL((url) => url.pathname === "/");
}
