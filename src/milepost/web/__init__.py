"""The dashboard: a results folder as pages in a browser, live while a run is going.

A page is a pure function of a view of the folder and a query (`page`); `app` serves pages as HTML and JSON,
`live` tells browsers what has changed, `safety` decides which requests are answered.
"""
