// The page in Debian's Firefox: `make firefox-check`.

import { defineConfig } from '@playwright/test'
import base from '../playwright.config'

export default defineConfig({
  ...base,
  testDir: '.',
  testIgnore: [],
  outputDir: '../results/firefox-failures',
  reporter: [['list'], ['../summary.ts']],
  // Each test has a Firefox of its own, and all the same Glimpse.
  workers: 1,
  timeout: 60_000,
})
