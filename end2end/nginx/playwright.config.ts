// Glimpse behind a real nginx: `make nginx-check`.

import { defineConfig } from '@playwright/test'
import base from '../playwright.config'

export default defineConfig({
  ...base,
  testDir: '.',
  testIgnore: [],
  outputDir: '../results/nginx-failures',
  reporter: [['list'], ['../summary.ts']],
  use: { ...base.use, ignoreHTTPSErrors: true },
  // Each test starts a Glimpse and an nginx of its own.
  webServer: undefined,
})
